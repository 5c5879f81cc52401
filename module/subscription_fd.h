/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Subscription fds: where records go out to programs.
 */
#ifndef EVQ_SUBSCRIPTION_FD_H
#define EVQ_SUBSCRIPTION_FD_H

struct evq_subscription;
struct file;

struct file *evq_subscription_file(struct evq_subscription *subscription);

#endif /* EVQ_SUBSCRIPTION_FD_H */
