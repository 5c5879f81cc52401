// SPDX-License-Identifier: GPL-2.0-only
#include "bench.h"

/* In the order of the tables. */
const struct peer *const peers[] = {
	&peer_evq,	&peer_mqueue, &peer_pipe,    &peer_seqpacket, &peer_netlink,
	&peer_condvar, &peer_bpf,    &peer_zeromq, &peer_dbus,	    &peer_iceoryx,
	&peer_evq_gate, &peer_evq_ring, &peer_evq_rings, NULL,
};

const struct peer *peer_named(const char *name)
{
	unsigned int i;

	for (i = 0; peers[i]; i++)
		if (!strcmp(peers[i]->name, name))
			return peers[i];
	fail_at(__FILE__, __LINE__, "there is no peer %s", name);
}

int (*pairs_make(struct channel *channel))[2]
{
	channel->own = calloc(channel->setup->readers, sizeof(int[2]));
	CHECK(channel->own);
	return channel->own;
}

void pairs_close(struct channel *channel)
{
	int (*fds)[2] = channel->own;
	unsigned int i;

	for (i = 0; i < channel->setup->readers; i++) {
		close(fds[i][0]);
		close(fds[i][1]);
	}
	free(fds);
}

struct buffer *buffer_make(size_t size)
{
	struct buffer *buffer;

	if (size < 64 << 10)
		size = 64 << 10;
	buffer = calloc(1, sizeof(*buffer) + size);
	CHECK(buffer);
	buffer->size = size;
	return buffer;
}
