/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rules that all ioctls share: how a structure comes in, is checked, and
 * goes out. Each kind of fd has a table of its commands.
 */
#ifndef EVQ_IOCTL_H
#define EVQ_IOCTL_H

#include <linux/fs.h>
#include <linux/stddef.h>
#include <linux/types.h>

#include <linux/evq.h>

/* The structure of any command. */
union evq_ioctl_arg {
	struct evq_features		features;
	struct evq_queue_create		queue_create;
	struct evq_queue_handle		queue_handle;
	struct evq_queue_info		queue_info;
	struct evq_queue_set		queue_set;
	struct evq_queue_control	queue_control;
	struct evq_submit		submit;
	struct evq_subscribe		subscribe;
	struct evq_register		reg;
	struct evq_unregister		unregister;
	struct evq_subscription_info	subscription_info;
	struct evq_queue_destroy	queue_destroy;
	struct evq_lane_info		lane_info;
	struct evq_event_state		event_state;
	struct evq_forget		forget;
	struct evq_receipts_create	receipts_create;
	struct evq_receipt_wait		receipt_wait;
	struct evq_receipts_info	receipts_info;
	struct evq_reader_create	reader_create;
	struct evq_ack_many		ack_many;
	struct evq_ring_create		ring_create;
	struct evq_ring_kick		ring_kick;
	struct evq_submit_ring_create	submit_ring_create;
	struct evq_submit_ring_kick	submit_ring_kick;
};

/**
 * struct evq_call - a command under way, on the caller's stack
 * @file: the fd's
 * @arg: the structure, what the caller left out being zero
 * @uarg: where it came from
 * @usize: its size there
 * @ksize: its size here
 */
struct evq_call {
	struct file		*file;
	union evq_ioctl_arg	arg;
	void __user		*uarg;
	size_t			usize;
	size_t			ksize;
};

/**
 * struct evq_ioctl - a command
 * @cmd: its number, with today's size
 * @min_size: size of the first version of its structure
 * @run: what it does: returns 0, or a result that io_uring hands on, or a
 *	negative error; gives its other results back
 *	with evq_call_answer(), before it lets anybody see what it did if that
 *	cannot be undone. That the structure can be written was checked, so the
 *	answer fails only if another thread changes the mapping
 */
struct evq_ioctl {
	unsigned int	cmd;
	size_t		min_size;
	int		(*run)(struct evq_call *call);
};

/* An entry of a table; @_last is the last field of the first version of @_type. */
#define EVQ_IOCTL(_cmd, _type, _last, _run) \
	{                                                                       \
		.cmd = _cmd, .min_size = offsetofend(_type, _last), .run = _run \
	}

long evq_ioctl_run(const struct evq_ioctl *table, size_t n, struct file *file,
		   unsigned int cmd, void __user *uarg);
int evq_call_answer(struct evq_call *call);
int evq_call_reserve_fd(void);
int evq_call_answer_fd(struct evq_call *call, int fd, s32 *out_fd, struct file *file);
int evq_call_install_fd(int fd, struct file *file, int ret);

int evq_ioctl_features(struct evq_call *call);

#endif /* EVQ_IOCTL_H */
