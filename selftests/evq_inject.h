/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Making calls of this process fail where the kernel allocates or copies: one
 * injection point of a call after the other, with /proc/self/fail-nth, or all
 * that is done in a range of the kernel's code, whichever task does it.
 *
 *	struct sweep s = { .name = "SUBMIT: one" };
 *
 *	sweep_watch(&s, queue);
 *	for_each_point(&s, submit_event(queue, .id = 1)) {
 *		(it has succeeded; check what it did, and undo it)
 *	}
 *
 * The call is made with its first injection point failing, then with its second,
 * and so on until it has no more. Where it fails it must have changed nothing of what
 * is watched, and must then succeed when nothing fails; the body runs after
 * each success, also where the call has coped with the failure.
 */
#ifndef EVQ_INJECT_H
#define EVQ_INJECT_H

#include "evq_util.h"

#define INJECT_FILES 14

/* The settings of the kernel's injectors, as they were */
struct inject {
	char saved[3][INJECT_FILES][32];
	bool begun;
};

/* Why this kernel cannot do it; NULL if it can. */
const char *inject_unavailable(void);
/* Every allocation and copy counts, however small, and nothing is said about it. */
void inject_begin(struct inject *inject);
/* Everything as it was; also when the one that began is dead. */
void inject_end(const struct inject *inject);
/* All that is called counts, */
void inject_everywhere(void);
/* or only what is called from the code of evq.ko, which is not loaded anew meanwhile, */
void inject_within_evq(void);
/* or from that of all modules, wherever they come to be. */
void inject_within_modules(void);
/* or from this function of the kernel or of evq.ko, which must be there, */
void inject_within_function(const char *function);
/* And not what is called from this function of the kernel, if it has one of that name. */
void inject_without(const char *function);
/* Of all tasks that come there, so many in a hundred fail; 0: none. */
void inject_everybody(unsigned int slab, unsigned int pages, unsigned int copies);

#define SWEEP_WATCH_MAX 6

/* What is to stay as it is */
struct sweep_state {
	union {
		struct evq_queue_info queue;
		struct evq_subscription_info subscription;
		struct evq_receipts_info receipts;
	} of[SWEEP_WATCH_MAX];
	struct evq_lane_info lanes[SWEEP_WATCH_MAX];
	int next_fd;
};

struct sweep {
	const char *name;
	/* What the call returns when nothing fails; it may then also fail when all is done. */
	long full;
	/* A failure is not followed by a success, but by the next point. */
	bool once;
	/* Besides ENOMEM and EFAULT: what it may fail with */
	int error;
	/* Called before each call, with nothing failing */
	void (*prepare)(struct sweep *s);
	void *data;

	/* What the call returned; what it did if it failed when all was done */
	long ret;
	/* This time something failed. */
	bool injected;
	/* calls in which something failed; those that failed with it */
	unsigned int points, failures;

	unsigned int nth, next, nr_watched;
	int watched[SWEEP_WATCH_MAX];
	unsigned long how[SWEEP_WATCH_MAX];
	struct sweep_state before;
	bool over;
};

/* A descriptor of evq, of any kind, whose ledger is to stay as it is. */
void sweep_watch(struct sweep *s, int fd);
/* That nothing has changed since the call began */
void sweep_unchanged(struct sweep *s);

void sweep_begin(struct sweep *s);
bool sweep_goes_on(struct sweep *s);
void sweep_arm(struct sweep *s);
bool sweep_success(struct sweep *s, long ret);

#define for_each_point(s, call_) for (sweep_begin(s); sweep_attempt(s, call_);)

/* Until one has succeeded; whether there was one. */
#define sweep_attempt(s, call_)                               \
	({                                                    \
		bool success_ = false;                        \
							      \
		while (!success_ && sweep_goes_on(s)) {       \
			sweep_arm(s);                         \
			success_ = sweep_success(s, (call_)); \
		}                                             \
		success_;                                     \
	})

/* A call that is to change nothing */
#define sweep_query(name_, fd_, call_)                        \
	do {                                                  \
		struct sweep s_ = { .name = (name_) };        \
							      \
		sweep_watch(&s_, fd_);                        \
		for_each_point(&s_, call_) {                  \
			sweep_unchanged(&s_);                 \
		}                                             \
	} while (0)

#endif /* EVQ_INJECT_H */
