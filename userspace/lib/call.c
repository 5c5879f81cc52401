// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <sys/ioctl.h>
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
