// SPDX-License-Identifier: GPL-2.0-only
#include "bench.h"

/* In the order of the tables. */
const struct peer *const peers[] = {
	&peer_evq,	&peer_mqueue, &peer_pipe,    &peer_seqpacket, &peer_netlink,
	&peer_condvar, &peer_bpf,    &peer_zeromq, &peer_dbus,	    &peer_iceoryx,
	&peer_evq_gate, NULL,
};

const struct peer *peer_named(const char *name)
{
	unsigned int i;

	for (i = 0; peers[i]; i++)
		if (!strcmp(peers[i]->name, name))
			return peers[i];
	fail_at(__FILE__, __LINE__, "there is no peer %s", name);
}
