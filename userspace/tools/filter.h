/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef EVQ_TOOL_FILTER_H
#define EVQ_TOOL_FILTER_H

#include "tool.h"

/**
 * filter_parse() - an argument like type=1,key=5,priority=40-63,order=-2
 * @text: the argument; "all" for every event
 * @filter: the filter that it stands for
 * @order: its order
 *
 * usage_error() where it makes no sense.
 */
void filter_parse(const char *text, struct evq_filter *filter, int32_t *order);

#endif /* EVQ_TOOL_FILTER_H */
