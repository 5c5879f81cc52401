/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints, under events/evq in tracefs.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM evq

#if !defined(EVQ_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define EVQ_TRACE_H

#include <linux/tracepoint.h>

/* A listener has failed, or taken long: what it returned, and for how many nanoseconds it ran. */
TRACE_EVENT(evq_callback,
	TP_PROTO(void *fn, u32 lane, u64 seq, int ret, u64 ns),
	TP_ARGS(fn, lane, seq, ret, ns),
	TP_STRUCT__entry(
		__field(void *, fn)
		__field(u32, lane)
		__field(u64, seq)
		__field(int, ret)
		__field(u64, ns)
	),
	TP_fast_assign(
		__entry->fn = fn;
		__entry->lane = lane;
		__entry->seq = seq;
		__entry->ret = ret;
		__entry->ns = ns;
	),
	TP_printk("fn=%ps lane=%u seq=%llu ret=%d ns=%llu",
		  __entry->fn, __entry->lane, __entry->seq, __entry->ret, __entry->ns)
);

#endif /* EVQ_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
