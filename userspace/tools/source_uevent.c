// SPDX-License-Identifier: GPL-2.0-only
#include "source.h"

#include <errno.h>
#include <libudev.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More than the kernel ever sends, with what udev may add. */
#define UEVENT_BYTES (64 * 1024)
/* Is there while udevd runs. */
#define UDEVD "/run/udev/control"
#define RECEIVE_BYTES (16 * 1024 * 1024)
/* A message that makes no sense is an error as well, but they do not follow each other. */
#define MAX_ERRORS 16

struct uevents {
	struct udev *udev;
	struct udev_monitor *monitor;
};

/* FNV-1a: the same for the same device, whatever happens to it. */
static uint64_t hash(const char *text)
{
	uint64_t h = 0xcbf29ce484222325;

	while (*text)
		h = (h ^ (unsigned char)*text++) * 0x100000001b3;
	return h;
}

/* Prints at most what fits; a property that does not is left out. */
static size_t append(char *to, size_t used, const char *first, char between, const char *second)
{
	int n = snprintf(to + used, UEVENT_BYTES - used, "%s%s%c%s", used ? "\n" : "", first,
			 between, second);

	return n < 0 || (size_t)n >= UEVENT_BYTES - used ? used : used + (size_t)n;
}

static void take_device(struct batch *batch, struct udev_device *device)
{
	const char *action = udev_device_get_action(device);
	const char *path = udev_device_get_devpath(device);
	char *to = batch->bytes + batch->used;
	struct udev_list_entry *each;
	struct evq_event_desc *event;
	size_t used;

	if (!action || !path)
		return;
	used = append(to, 0, action, '@', path);
	udev_list_entry_foreach(each, udev_device_get_properties_list_entry(device))
	{
		const char *value = udev_list_entry_get_value(each);

		used = append(to, used, udev_list_entry_get_name(each), '=', value ? value : "");
	}
	event = batch_add(batch, to, used);
	if (!batch->has_key)
		event->key = hash(path);
	batch->used += used + 1;
}

static enum source_result uevent_fill(struct source *source, struct batch *batch)
{
	struct uevents *uevents = source->state;
	unsigned int errors = 0;

	while (batch->nr < BATCH_EVENTS && batch->used + UEVENT_BYTES < BATCH_BYTES) {
		struct udev_device *device;

		errno = 0;
		device = udev_monitor_receive_device(uevents->monitor);
		if (!device && errno == ENOBUFS) {
			source->refused++;
			continue;
		}
		if (!device && (errno == EAGAIN || errno == EINTR))
			break;
		if (!device && ++errors < MAX_ERRORS)
			continue;
		if (!device) {
			complain("cannot receive uevents: %s", strerror(errno));
			return SOURCE_ERROR;
		}
		errors = 0;
		take_device(batch, device);
		udev_device_unref(device);
	}
	return SOURCE_MORE;
}

static void uevent_end(struct source *source)
{
	struct uevents *uevents = source->state;

	udev_monitor_unref(uevents->monitor);
	udev_unref(uevents->udev);
	free(uevents);
}

int source_uevent(struct source *source, const char *group)
{
	struct uevents *uevents = calloc(1, sizeof(*uevents));

	if (!uevents) {
		complain("no memory");
		return -1;
	}
	*source = (struct source){
		.fill = uevent_fill,
		.end = uevent_end,
		.state = uevents,
		.missed = "times uevents were overwritten before they were read",
	};
	/* The library would wait for it without a word. */
	if (!strcmp(group, "udev") && access(UDEVD, F_OK)) {
		complain("cannot listen to udev: udevd is not running");
		goto err_end;
	}
	uevents->udev = udev_new();
	if (uevents->udev)
		uevents->monitor = udev_monitor_new_from_netlink(uevents->udev, group);
	if (!uevents->monitor) {
		complain("cannot listen to uevents: %s", strerror(errno));
		goto err_end;
	}
	/* Without the right to this much the socket keeps what it has. */
	udev_monitor_set_receive_buffer_size(uevents->monitor, RECEIVE_BYTES);
	errno = -udev_monitor_enable_receiving(uevents->monitor);
	if (errno > 0) {
		complain("cannot listen to uevents: %s", strerror(errno));
		goto err_end;
	}
	source->fd = udev_monitor_get_fd(uevents->monitor);
	return 0;

err_end:
	uevent_end(source);
	return -1;
}
