// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "internal.h"

/* Holds nothing that changes, so that every function is thread-safe as the fd is. */
struct evq_receipts {
	int fd;
};

/* Owns the fd on success. */
static struct evq_receipts *receipts_new(int fd)
{
	struct evq_receipts *receipts = malloc(sizeof(*receipts));

	if (receipts)
		receipts->fd = fd;
	return receipts;
}

struct evq_receipts *evq_receipts_create(struct evq_queue *queue, uint32_t capacity)
{
	struct evq_receipts_create create = { .capacity = capacity };
	struct evq_receipts *receipts;

	if (ioctl(evq_queue_get_fd(queue), EVQ_IOC_RECEIPTS, &create))
		return NULL;
	receipts = receipts_new(create.out_fd);
	if (!receipts)
		evq__close(create.out_fd);
	return receipts;
}

struct evq_receipts *evq_receipts_from_fd(int fd)
{
	struct evq_receipts_info info;

	if (ioctl(fd, EVQ_IOC_RECEIPTS_INFO, &info))
		return NULL;
	return receipts_new(fd);
}

void evq_receipts_close(struct evq_receipts *receipts)
{
	if (!receipts)
		return;
	evq__close(receipts->fd);
	free(receipts);
}

int evq_receipts_get_fd(const struct evq_receipts *receipts)
{
	return receipts->fd;
}

/*
 * The fd is not O_NONBLOCK, so that EVQ_IOC_RECEIPT_WAIT can wait; the read says
 * itself that it does not, as another thread may be faster than this one is
 * between a poll and a read.
 */
ssize_t evq_receipts_read(struct evq_receipts *receipts, struct evq_receipt *to, size_t nr)
{
	const size_t most = EVQ_RECEIPTS_MAX;
	struct iovec iov = { .iov_base = to, .iov_len = (nr < most ? nr : most) * sizeof(*to) };
	ssize_t n = preadv2(receipts->fd, &iov, 1, -1, RWF_NOWAIT);

	if (n < 0)
		return errno == EAGAIN ? 0 : -1;
	return n / (ssize_t)sizeof(*to);
}

int evq_receipts_wait(struct evq_receipts *receipts, uint64_t deadline_ns)
{
	return evq__poll(receipts->fd, deadline_ns);
}

int evq_receipts_take(struct evq_receipts *receipts, uint32_t lane, uint64_t seq,
		      struct evq_receipt *receipt, uint64_t deadline_ns)
{
	struct evq_receipt_wait wait = { .seq = seq, .lane = lane, .deadline_ns = deadline_ns };

	/* Which the kernel understands as another question. */
	if (!seq) {
		errno = ENOENT;
		return -1;
	}
	if (ioctl(receipts->fd, EVQ_IOC_RECEIPT_WAIT, &wait))
		return -1;
	*receipt = wait.receipt;
	return 0;
}

int evq_receipts_settle(struct evq_receipts *receipts, uint64_t deadline_ns)
{
	struct evq_receipt_wait wait = { .deadline_ns = deadline_ns };

	return ioctl(receipts->fd, EVQ_IOC_RECEIPT_WAIT, &wait);
}

int evq_receipts_get_info(struct evq_receipts *receipts, struct evq_receipts_info *info,
			  size_t size)
{
	return evq__call_sized(receipts->fd, EVQ_IOC_RECEIPTS_INFO, info, size);
}
