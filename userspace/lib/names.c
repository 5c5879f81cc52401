// SPDX-License-Identifier: LGPL-2.1-or-later
#include <errno.h>
#include <string.h>

#include "internal.h"

const char *evq_version(void)
{
	return EVQ_VERSION;
}

static const struct {
	enum evq_operation operation;
	int error;
	const char *text;
} errors[] = {
	{ EVQ_OPERATION_OPEN, ENOENT,
	  "no such queue: is the module loaded? try: sudo insmod evq.ko" },
	{ EVQ_OPERATION_OPEN, ENXIO,
	  "the device has no driver (module loaded? try: sudo insmod evq.ko), or is a socket" },
	{ EVQ_OPERATION_OPEN, ENODEV,
	  "the device has no driver: is the module loaded? try: sudo insmod evq.ko" },
	{ EVQ_OPERATION_OPEN, EACCES,
	  "permission denied: join the group evq (sudo usermod -aG evq USER) and log in again" },
	{ EVQ_OPERATION_OPEN, EPERM,
	  "controlling a device's queue takes CAP_SYS_ADMIN; a container may forbid the device" },
	{ EVQ_OPERATION_OPEN, ENOTTY, "this is not an evq queue" },
	{ EVQ_OPERATION_OPEN, ENAMETOOLONG, "the name is too long" },
	{ EVQ_OPERATION_CREATE, EDQUOT, "you have as many queues as a user may: close some" },
	{ EVQ_OPERATION_CREATE, ENOSPC,
	  "as many queues exist as may: close some, or raise the module's limit" },
	{ EVQ_OPERATION_CREATE, ENOTTY,
	  "only a queue that was opened by name can make and destroy others" },
	{ EVQ_OPERATION_CREATE, EEXIST,
	  "there is a queue of this name: open it, or choose another name" },
	{ EVQ_OPERATION_CREATE, EPERM, "making and destroying named queues takes CAP_SYS_ADMIN" },
	{ EVQ_OPERATION_SUBMIT, EACCES,
	  "this handle of the queue may not submit, or not with so high a priority" },
	{ EVQ_OPERATION_SUBMIT, EAGAIN, "the queue is full, or the receipts are: try again" },
	{ EVQ_OPERATION_SUBMIT, ETIMEDOUT,
	  "the queue stayed full, or the receipts did, until the deadline" },
	{ EVQ_OPERATION_SUBMIT, EMSGSIZE, "the payload is longer than the queue's max_payload" },
	{ EVQ_OPERATION_SUBMIT, ESHUTDOWN, "the queue is stopped: somebody has to start it" },
	{ EVQ_OPERATION_SUBMIT, EEXIST,
	  "an event with this id is pending or in the history: it need not be submitted again" },
	{ EVQ_OPERATION_SUBMIT, EDQUOT,
	  "as much of yours waits as a user may have there: try again when some is dispatched" },
	{ EVQ_OPERATION_SUBMIT, EBADF, "these receipts are closed, or of another queue" },
	{ EVQ_OPERATION_CONTROL, EACCES,
	  "this handle of the queue does not carry the right to control it" },
	{ EVQ_OPERATION_CONTROL, EBUSY,
	  "the queue is still stopping: try again when it has stopped" },
	{ EVQ_OPERATION_CONTROL, ESHUTDOWN, "the queue is stopping or stopped: start it first" },
	{ EVQ_OPERATION_CONTROL, ETIMEDOUT,
	  "the deadline passed: what still waited was discarded and counted as aborted" },
	{ EVQ_OPERATION_CONTROL, EINVAL,
	  "a setting is out of its range, or needs another one: see linux/evq.h" },
	{ EVQ_OPERATION_SUBSCRIBE, EACCES,
	  "this handle may not subscribe, or the queue's gate_max_ns forbids so long a gate" },
	{ EVQ_OPERATION_SUBSCRIBE, ENOSPC, "the queue has as many subscriptions as it may" },
	{ EVQ_OPERATION_SUBSCRIBE, EDQUOT,
	  "you have as many subscriptions as a user may: close some" },
	{ EVQ_OPERATION_REGISTER, ENOSPC, "the subscription has as many registrations as it may" },
	{ EVQ_OPERATION_REGISTER, EDQUOT,
	  "you have as many registrations as a user may: remove some" },
	{ EVQ_OPERATION_REGISTER, ENOENT, "there is no such registration" },
	{ EVQ_OPERATION_READ, EAGAIN, "there is nothing to read now" },
	{ EVQ_OPERATION_READ, ESHUTDOWN,
	  "end of file: the queue is stopped and everything was read" },
	{ EVQ_OPERATION_READ, ENOTCONN,
	  "the subscription was too slow and is disconnected: close it and subscribe again" },
	{ EVQ_OPERATION_READ, EBUSY, "the subscription is being dispatched already" },
	{ EVQ_OPERATION_READ, ECANCELED, "a callback closed the subscription" },
	{ EVQ_OPERATION_READ, EBADMSG, "what is there is no record" },
	{ EVQ_OPERATION_STATE, ENOENT,
	  "no event with this id is pending or in the history: see the setting history_events" },
	{ EVQ_OPERATION_STATE, EACCES,
	  "this handle of the queue does not carry the right to control it" },
	{ EVQ_OPERATION_RECEIPTS, EACCES,
	  "this handle of the queue does not carry the right to submit" },
	{ EVQ_OPERATION_RECEIPTS, EDQUOT,
	  "you have as many receipts as a user may: read and close some" },
	{ EVQ_OPERATION_RECEIPTS, ENOENT,
	  "these receipts have none of this event, or it was read already" },
	{ EVQ_OPERATION_RECEIPTS, EAGAIN, "the event is not complete yet" },
	{ EVQ_OPERATION_RECEIPTS, ETIMEDOUT, "the event was not complete by the deadline" },
	{ EVQ_OPERATION_ACK, ENOENT,
	  "no such delivery: was it read with EVQ_SUBSCRIBE_ACK from this subscription?" },
	{ EVQ_OPERATION_ACK, ESTALE,
	  "too late: it was acknowledged before, timed out, or went to another reader" },
	{ EVQ_OPERATION_ACK, EINVAL, "the status is no errno value, or the flags are unknown" },
	{ EVQ_OPERATION_POOL, EMFILE,
	  "a pool takes a file descriptor for each worker: have fewer, or raise ulimit -n" },
	{ EVQ_OPERATION_POOL, EAGAIN, "there can be no more threads: have fewer workers" },
	{ EVQ_OPERATION_POOL, EDEADLK,
	  "a callback cannot wait for its own thread: stop the pool from another one" },
	{ EVQ_OPERATION_POOL, ECHILD,
	  "the threads are those of the process that made the pool: make another one here" },
	{ EVQ_OPERATION_POOL, ETIMEDOUT, "the deadline passed: records are left to read" },
	{ EVQ_OPERATION_POOL, ECANCELED, "the pool was aborted: records are left to read" },
	{ EVQ_OPERATION_RECEIPTS, ENOTTY, "this is not a file descriptor of receipts" },
};

const char *evq_strerror(enum evq_operation operation, int error)
{
	size_t i;

	/* What stands in the way of opening stands in the way of creating. */
	for (; operation != EVQ_OPERATION_OTHER; operation = EVQ_OPERATION_OPEN) {
		for (i = 0; i < ARRAY_SIZE(errors); i++) {
			if (errors[i].operation == operation && errors[i].error == error)
				return errors[i].text;
		}
		if (operation != EVQ_OPERATION_CREATE)
			break;
	}
	return strerror(error);
}

static const char *name_of(const char *const names[], size_t nr, uint32_t value)
{
	return value < nr ? names[value] : NULL;
}

const char *evq_right_name(uint32_t right)
{
	switch (right) {
	case EVQ_RIGHT_SUBMIT:
		return "submit";
	case EVQ_RIGHT_SUBSCRIBE:
		return "subscribe";
	case EVQ_RIGHT_CONTROL:
		return "control";
	default:
		return NULL;
	}
}

const char *evq_mode_name(uint32_t mode)
{
	switch (mode) {
	case EVQ_MODE_EVICT:
		return "evict";
	case EVQ_MODE_SEQUENTIAL:
		return "sequential";
	case EVQ_MODE_NO_DIRECT:
		return "no-direct";
	default:
		return NULL;
	}
}

const char *evq_event_status_name(uint32_t status)
{
	static const char *const names[] = {
		[EVQ_EVENT_PENDING] = "pending",
		[EVQ_EVENT_DISPATCHED] = "dispatched",
		[EVQ_EVENT_COMPLETE] = "complete",
	};

	return name_of(names, ARRAY_SIZE(names), status);
}

const char *evq_state_name(uint32_t state)
{
	static const char *const names[] = {
		[EVQ_STATE_RUNNING] = "running",
		[EVQ_STATE_PAUSED] = "paused",
		[EVQ_STATE_STOPPING] = "stopping",
		[EVQ_STATE_STOPPED] = "stopped",
	};

	return name_of(names, ARRAY_SIZE(names), state);
}

const char *evq_policy_name(uint32_t policy)
{
	static const char *const names[] = {
		[EVQ_POLICY_DROP_OLDEST] = "drop-oldest",
		[EVQ_POLICY_DROP_NEWEST] = "drop-newest",
		[EVQ_POLICY_COALESCE] = "coalesce",
		[EVQ_POLICY_DISCONNECT] = "disconnect",
		[EVQ_POLICY_GATE] = "gate",
	};

	return name_of(names, ARRAY_SIZE(names), policy);
}

const char *evq_lost_name(uint32_t cause)
{
	static const char *const names[] = {
		[EVQ_LOST_OVERFLOW] = "overflow",
		[EVQ_LOST_NOMEM] = "nomem",
		[EVQ_LOST_UNREGISTERED] = "unregistered",
		[EVQ_LOST_ABORTED] = "aborted",
		[EVQ_LOST_EVICTED] = "evicted",
		[EVQ_LOST_COALESCED] = "coalesced",
		[EVQ_LOST_DISCONNECTED] = "disconnected",
		[EVQ_LOST_PINNED] = "pinned",
		[EVQ_LOST_POISON] = "poison",
		[EVQ_LOST_CHAIN] = "chain",
		[EVQ_LOST_HISTORY] = "history",
	};

	return name_of(names, ARRAY_SIZE(names), cause);
}

const char *evq_scope_name(uint32_t scope)
{
	static const char *const names[] = {
		[EVQ_SCOPE_SUBSCRIPTION] = "subscription",
		[EVQ_SCOPE_QUEUE] = "queue",
	};

	return name_of(names, ARRAY_SIZE(names), scope);
}
