// SPDX-License-Identifier: GPL-2.0-only
/*
 * D-Bus: signals through a dbus-daemon of its own, sent and received with sd-bus.
 *
 * The payload is an array of bytes. The library collects what the socket does not take; it is told
 * to send at the end of each call, so that no more than a batch waits in the publisher. The
 * instructions are those of the daemon too, which copies each signal to every reader.
 */
#include <systemd/sd-bus.h>
#include "bench.h"

#define PATH "/org/evq/Bench"
#define INTERFACE "org.evq.Bench"
#define MEMBER "Event"

struct dbus {
	char folder[64];
	char address[128];
	pid_t daemon;
};

static const char *dbus_missing(void)
{
	return access("/usr/bin/dbus-daemon", X_OK) ? "there is no dbus-daemon" : NULL;
}

static int daemon_main(void *arg)
{
	struct dbus *own = arg;
	char address[160];

	snprintf(address, sizeof(address), "--address=%s", own->address);
	execl("/usr/bin/dbus-daemon", "dbus-daemon", "--session", "--nofork", "--nopidfile",
	      "--nosyslog", address, NULL);
	return 1;
}

static sd_bus *bus_open(const struct dbus *own)
{
	sd_bus *bus;

	CHECK(sd_bus_new(&bus) >= 0);
	CHECK(sd_bus_set_address(bus, own->address) >= 0);
	CHECK(sd_bus_set_bus_client(bus, 1) >= 0);
	CHECK(sd_bus_start(bus) >= 0);
	return bus;
}

static void dbus_open(struct channel *channel)
{
	struct dbus *own = calloc(1, sizeof(*own));
	char path[96];

	CHECK(own);
	snprintf(own->folder, sizeof(own->folder), "/tmp/evq-bench-XXXXXX");
	CHECK(mkdtemp(own->folder));
	snprintf(own->address, sizeof(own->address), "unix:path=%s/bus", own->folder);
	snprintf(path, sizeof(path), "%s/bus", own->folder);
	own->daemon = child_start(daemon_main, own);
	UNTIL(!access(path, F_OK));
	channel->own = own;
}

static void dbus_start_publisher(struct publisher *publisher)
{
	sd_bus *bus = bus_open(publisher->channel->own);
	const char *name;

	/* Waits for the daemon's greeting. */
	CHECK(sd_bus_get_unique_name(bus, &name) >= 0);
	publisher->own = bus;
}

static void dbus_publish(struct publisher *publisher, unsigned int nr)
{
	unsigned int payload = publisher->channel->setup->payload, i;
	sd_bus *bus = publisher->own;

	for (i = 0; i < nr; i++) {
		sd_bus_message *message;

		CHECK(sd_bus_message_new_signal(bus, &message, PATH, INTERFACE, MEMBER) >= 0);
		CHECK(sd_bus_message_append_array(message, 'y', publisher->data + i * payload,
						  payload) >= 0);
		CHECK(sd_bus_send(bus, message, NULL) >= 0);
		sd_bus_message_unref(message);
	}
	CHECK(sd_bus_flush(bus) >= 0);
}

static int dbus_got(sd_bus_message *message, void *arg, sd_bus_error *error)
{
	const void *data;
	size_t len;

	(void)error;
	CHECK(sd_bus_message_read_array(message, 'y', &data, &len) >= 0);
	got(arg, data, len);
	return 0;
}

static void dbus_start_receiver(struct receiver *receiver)
{
	sd_bus *bus = bus_open(receiver->channel->own);

	/* Returns when the daemon has it. */
	CHECK(sd_bus_match_signal(bus, NULL, NULL, PATH, INTERFACE, MEMBER, dbus_got, receiver) >=
	      0);
	receiver->own = bus;
}

static void dbus_receive(struct receiver *receiver)
{
	sd_bus *bus = receiver->own;
	int n = sd_bus_process(bus, NULL);

	CHECK(n >= 0);
	if (!n)
		CHECK(sd_bus_wait(bus, UINT64_MAX) >= 0);
}

static void dbus_close(struct channel *channel)
{
	struct dbus *own = channel->own;
	char path[96];

	child_kill(own->daemon);
	snprintf(path, sizeof(path), "%s/bus", own->folder);
	unlink(path);
	rmdir(own->folder);
	free(own);
}

const struct peer peer_dbus = {
	.name = "dbus",
	.weight = 50000,
	.publishers_max = 1,
	.readers_max = 10,
	.missing = dbus_missing,
	.open = dbus_open,
	.start_publisher = dbus_start_publisher,
	.start_receiver = dbus_start_receiver,
	.publish = dbus_publish,
	.receive = dbus_receive,
	.close = dbus_close,
};
