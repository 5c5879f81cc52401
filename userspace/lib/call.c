// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "internal.h"

#define NSEC_PER_SEC 1000000000ULL
#define IOC_SIZE_MAX ((size_t)(1U << _IOC_SIZEBITS) - 1)

int evq__call_sized(int fd, unsigned long request, void *arg, size_t size)
{
	if (size > IOC_SIZE_MAX) {
		errno = EINVAL;
		return -1;
	}
	return ioctl(fd, _IOC(_IOC_DIR(request), _IOC_TYPE(request), _IOC_NR(request), size), arg);
}

int evq__take(void *to, size_t known, size_t first, const void *from, size_t size)
{
	const char *rest = (const char *)from + known;
	size_t i;

	if (size < first || size > IOC_SIZE_MAX) {
		errno = EINVAL;
		return -1;
	}
	for (i = 0; known + i < size; i++) {
		if (rest[i]) {
			errno = E2BIG;
			return -1;
		}
	}
	memcpy(to, from, size < known ? size : known);
	return 0;
}

int evq__clear(void *arg, size_t size, size_t least)
{
	if (size < least || size > IOC_SIZE_MAX) {
		errno = EINVAL;
		return -1;
	}
	memset(arg, 0, size);
	return 0;
}

int evq__ppoll(struct pollfd *fds, nfds_t nr, uint64_t deadline_ns)
{
	struct timespec left = { 0 };
	uint64_t now;

	if (!deadline_ns)
		return ppoll(fds, nr, NULL, NULL);
	now = evq__now();
	if (now < deadline_ns) {
		uint64_t ns = deadline_ns - now;

		/* Longer than any machine runs, and within any time_t. */
		if (ns / NSEC_PER_SEC > INT32_MAX)
			ns = INT32_MAX * NSEC_PER_SEC;
		left.tv_sec = (time_t)(ns / NSEC_PER_SEC);
		left.tv_nsec = (long)(ns % NSEC_PER_SEC);
	}
	return ppoll(fds, nr, &left, NULL);
}

int evq__poll(int fd, uint64_t deadline_ns)
{
	struct pollfd in = { .fd = fd, .events = POLLIN };

	return evq__ppoll(&in, 1, deadline_ns);
}

void *evq__map(int fd, uint64_t offset, size_t size, int prot)
{
	void *at = mmap(NULL, size, prot, MAP_SHARED, fd, (off_t)offset);

	return at == MAP_FAILED ? NULL : at;
}

void evq__unmap(const void *at, size_t size)
{
	if (at)
		munmap((void *)at, size);
}

void evq__close(int fd)
{
	int error = errno;

	if (fd >= 0)
		close(fd);
	errno = error;
}

uint64_t evq__now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NSEC_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t evq_deadline(uint64_t timeout_ns)
{
	uint64_t now = evq__now();
	uint64_t deadline = now + timeout_ns;

	return deadline < now ? UINT64_MAX : deadline;
}

int evq_features_get(int fd, struct evq_features *features, size_t size)
{
	return evq__call_sized(fd, EVQ_IOC_FEATURES, features, size);
}
