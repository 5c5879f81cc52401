// SPDX-License-Identifier: GPL-2.0-only
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <linux/evq.h>

#include "fuzz.h"

#define SYMBOL(prefix, name) { #name, prefix##name }
#define SYMBOLS(name, ...) \
	static const struct symbol name[] = { __VA_ARGS__, { NULL, 0 } }

SYMBOLS(open_flags, SYMBOL(O_, RDWR), SYMBOL(O_, WRONLY), SYMBOL(O_, NONBLOCK),
	SYMBOL(O_, CLOEXEC));
SYMBOLS(poll_events, SYMBOL(POLL, IN), SYMBOL(POLL, OUT), SYMBOL(POLL, PRI),
	SYMBOL(POLL, ERR), SYMBOL(POLL, HUP));
SYMBOLS(queue_flags, SYMBOL(EVQ_QUEUE_, PAUSED));
SYMBOLS(rights, SYMBOL(EVQ_RIGHT_, SUBMIT), SYMBOL(EVQ_RIGHT_, SUBSCRIBE),
	SYMBOL(EVQ_RIGHT_, CONTROL));
SYMBOLS(sets, SYMBOL(EVQ_SET_, CAPACITY), SYMBOL(EVQ_SET_, MAX_PAYLOAD),
	SYMBOL(EVQ_SET_, MODE), SYMBOL(EVQ_SET_, LOW_MARK),
	SYMBOL(EVQ_SET_, KERNEL_RESERVE), SYMBOL(EVQ_SET_, OPEN_LEVEL),
	SYMBOL(EVQ_SET_, USER_SHARE), SYMBOL(EVQ_SET_, HISTORY),
	SYMBOL(EVQ_SET_, ACK_TIMEOUT), SYMBOL(EVQ_SET_, GATE_MAX),
	SYMBOL(EVQ_SET_, MAX_PINNED), SYMBOL(EVQ_SET_, HISTORY_BYTES));
SYMBOLS(modes, SYMBOL(EVQ_MODE_, EVICT), SYMBOL(EVQ_MODE_, SEQUENTIAL));
SYMBOLS(ops, SYMBOL(EVQ_CONTROL_, START), SYMBOL(EVQ_CONTROL_, PAUSE),
	SYMBOL(EVQ_CONTROL_, DRAIN), SYMBOL(EVQ_CONTROL_, ABORT));
SYMBOLS(submit_flags, SYMBOL(EVQ_SUBMIT_, NONBLOCK), SYMBOL(EVQ_SUBMIT_, RESULTS),
	SYMBOL(EVQ_SUBMIT_, RECEIPTS));
SYMBOLS(event_flags, SYMBOL(EVQ_EVENT_, UNIQUE), SYMBOL(EVQ_EVENT_, TRACKED));
SYMBOLS(policies, SYMBOL(EVQ_POLICY_, DROP_OLDEST), SYMBOL(EVQ_POLICY_, DROP_NEWEST),
	SYMBOL(EVQ_POLICY_, COALESCE), SYMBOL(EVQ_POLICY_, DISCONNECT),
	SYMBOL(EVQ_POLICY_, GATE));
SYMBOLS(subscribe_flags, SYMBOL(EVQ_SUBSCRIBE_, ACK),
	SYMBOL(EVQ_SUBSCRIBE_, KEY_EXCLUSIVE));
SYMBOLS(matches, SYMBOL(EVQ_MATCH_, ID), SYMBOL(EVQ_MATCH_, TYPE), SYMBOL(EVQ_MATCH_, KEY),
	SYMBOL(EVQ_MATCH_, PRIORITY));
SYMBOLS(register_flags, SYMBOL(EVQ_REGISTER_, REPLAY));
SYMBOLS(ack_flags, SYMBOL(EVQ_ACK_, STOP));
SYMBOLS(forget_flags, SYMBOL(EVQ_FORGET_, ALL));
SYMBOLS(ring_sizes, { "SMALL", 4096 }, { "MIDDLE", 16384 }, { "LARGE", 1 << 20 });
SYMBOLS(entries, { "ONE", 1 }, { "FEW", 4 }, { "MANY", 64 });
SYMBOLS(event_sizes, { "EVENT", sizeof(struct evq_event_desc) });
SYMBOLS(submit_ring_flags, SYMBOL(EVQ_SUBMIT_, RECEIPTS));
SYMBOLS(submit_kick_flags, SYMBOL(EVQ_SUBMIT_RING_, WAIT));
/* How the structure of an ioctl is given. */
SYMBOLS(args, { "NULL", 1 }, { "UNMAPPED", 2 }, { "READONLY", 3 }, { "EDGE", 4 },
	{ "KERNEL", 5 }, { "ODD", 6 });

#define IN(type, member, how, ...)                                           \
	{                                                                    \
		.name = #member, .kind = how,                                \
		.offset = offsetof(struct type, member),                     \
		.size = sizeof(((struct type *)0)->member), __VA_ARGS__      \
	}
#define SETTING(member, how, ...)                                                \
	{                                                                        \
		.name = #member, .kind = how,                                    \
		.offset = offsetof(struct evq_queue_set, to.member),             \
		.size = sizeof(((struct evq_queue_set *)0)->to.member),          \
		__VA_ARGS__                                                      \
	}
#define ARG(what, how, ...)                               \
	{                                                 \
		.name = #what, .kind = how, __VA_ARGS__   \
	}
#define FD(resource) ARG(fd, FIELD_RESOURCE, .wants = resource)
/*
 * What every ioctl has besides its structure; _size and _dir are the command's. A submit with
 * _uring is EVQ_URING_SUBMIT.
 */
#define HOW                                                                 \
	ARG(_size, FIELD_ZERO), ARG(_dir, FIELD_ZERO), ARG(_tail, FIELD_ZERO), \
	ARG(_arg, FIELD_ENUM, .symbols = args)
#define MEMBERS(name, ...) \
	static const struct field name[] = { __VA_ARGS__, { NULL } }

MEMBERS(features, FD(RES_ANY_FD), HOW);
MEMBERS(queue_create, FD(RES_QUEUE),
	IN(evq_queue_create, capacity, FIELD_NUMBER, .most = EVQ_CAPACITY_MAX),
	IN(evq_queue_create, max_payload, FIELD_NUMBER, .most = EVQ_PAYLOAD_MAX),
	IN(evq_queue_create, flags, FIELD_FLAGS, .symbols = queue_flags),
	IN(evq_queue_create, out_fd, FIELD_ZERO),
	IN(evq_queue_create, nr_lanes, FIELD_NUMBER, .most = 4),
	IN(evq_queue_create, mode, FIELD_ZERO),
	IN(evq_queue_create, uid, FIELD_ZERO),
	IN(evq_queue_create, gid, FIELD_ZERO),
	IN(evq_queue_create, name, FIELD_NAME), HOW);
MEMBERS(queue_destroy, FD(RES_QUEUE),
	IN(evq_queue_destroy, name, FIELD_NAME),
	IN(evq_queue_destroy, flags, FIELD_ZERO),
	IN(evq_queue_destroy, reserved, FIELD_ZERO), HOW);
MEMBERS(queue_handle, FD(RES_QUEUE),
	IN(evq_queue_handle, rights, FIELD_FLAGS, .symbols = rights),
	IN(evq_queue_handle, flags, FIELD_ZERO),
	IN(evq_queue_handle, out_fd, FIELD_ZERO),
	IN(evq_queue_handle, reserved, FIELD_ZERO), HOW);
MEMBERS(queue_info, FD(RES_QUEUE), HOW);
MEMBERS(queue_set, FD(RES_QUEUE),
	IN(evq_queue_set, set, FIELD_FLAGS, .symbols = sets),
	IN(evq_queue_set, flags, FIELD_ZERO),
	SETTING(capacity, FIELD_NUMBER, .most = EVQ_CAPACITY_MAX),
	SETTING(max_payload, FIELD_NUMBER, .most = EVQ_PAYLOAD_MAX),
	SETTING(mode, FIELD_FLAGS, .symbols = modes),
	SETTING(low_mark, FIELD_NUMBER, .most = 8),
	SETTING(kernel_reserve, FIELD_NUMBER, .most = 8),
	SETTING(open_level, FIELD_NUMBER, .most = EVQ_LEVELS - 1),
	SETTING(user_share, FIELD_NUMBER, .most = 8),
	SETTING(reserved, FIELD_ZERO),
	SETTING(history_events, FIELD_NUMBER, .most = EVQ_HISTORY_MAX),
	SETTING(history_bytes, FIELD_NUMBER, .most = 1 << 16),
	SETTING(ack_timeout_ns, FIELD_SPAN),
	SETTING(gate_max_ns, FIELD_SPAN),
	SETTING(max_pinned, FIELD_NUMBER, .most = 1 << 16), HOW);
MEMBERS(queue_control, FD(RES_QUEUE),
	IN(evq_queue_control, op, FIELD_ENUM, .symbols = ops),
	IN(evq_queue_control, flags, FIELD_ZERO),
	IN(evq_queue_control, deadline_ns, FIELD_TIME), HOW);
MEMBERS(submit, FD(RES_QUEUE),
	IN(evq_submit, events_ptr, FIELD_POINTER),
	IN(evq_submit, nr_events, FIELD_POINTER),
	IN(evq_submit, event_size, FIELD_POINTER),
	IN(evq_submit, deadline_ns, FIELD_TIME),
	IN(evq_submit, flags, FIELD_FLAGS, .symbols = submit_flags),
	IN(evq_submit, nr_taken, FIELD_ZERO),
	IN(evq_submit, receipts_fd, FIELD_RESOURCE, .wants = RES_RECEIPTS),
	IN(evq_submit, reserved, FIELD_ZERO),
	ARG(_repeat, FIELD_NUMBER, .most = 300),
	ARG(_uring, FIELD_NUMBER, .most = 1), HOW);
MEMBERS(events,
	IN(evq_event_desc, id, FIELD_ID),
	IN(evq_event_desc, key, FIELD_ID),
	IN(evq_event_desc, data_ptr, FIELD_POINTER),
	IN(evq_event_desc, data_len, FIELD_LENGTH),
	IN(evq_event_desc, type, FIELD_ID),
	IN(evq_event_desc, priority, FIELD_NUMBER, .most = EVQ_LEVELS - 1),
	IN(evq_event_desc, flags, FIELD_FLAGS, .symbols = event_flags),
	IN(evq_event_desc, cookie, FIELD_ID),
	IN(evq_event_desc, seq, FIELD_ZERO),
	IN(evq_event_desc, lane, FIELD_ZERO),
	IN(evq_event_desc, reserved, FIELD_ZERO));
MEMBERS(subscribe, FD(RES_QUEUE),
	IN(evq_subscribe, policy, FIELD_ENUM, .symbols = policies),
	IN(evq_subscribe, flags, FIELD_FLAGS, .symbols = subscribe_flags),
	IN(evq_subscribe, max_records, FIELD_NUMBER, .most = EVQ_RECORDS_MAX),
	IN(evq_subscribe, max_bytes, FIELD_NUMBER, .most = EVQ_BYTES_MAX),
	IN(evq_subscribe, out_fd, FIELD_ZERO),
	IN(evq_subscribe, max_in_hand, FIELD_NUMBER, .most = EVQ_RECORDS_MAX),
	IN(evq_subscribe, max_attempts, FIELD_NUMBER, .most = EVQ_ATTEMPTS_MAX),
	IN(evq_subscribe, wake_records, FIELD_NUMBER, .most = 4),
	IN(evq_subscribe, gate_ns, FIELD_SPAN),
	IN(evq_subscribe, wake_interval_ns, FIELD_SPAN),
	IN(evq_subscribe, subscription, FIELD_ZERO), HOW);
MEMBERS(lane_info, FD(RES_QUEUE),
	IN(evq_lane_info, lane, FIELD_NUMBER, .most = 3), HOW);
MEMBERS(event_state, FD(RES_QUEUE),
	IN(evq_event_state, id, FIELD_ID),
	IN(evq_event_state, flags, FIELD_ZERO),
	IN(evq_event_state, reserved, FIELD_ZERO), HOW);
MEMBERS(forget, FD(RES_QUEUE),
	IN(evq_forget, id, FIELD_ID),
	IN(evq_forget, flags, FIELD_FLAGS, .symbols = forget_flags),
	IN(evq_forget, reserved, FIELD_ZERO), HOW);
MEMBERS(receipts, FD(RES_QUEUE),
	IN(evq_receipts_create, capacity, FIELD_NUMBER, .most = EVQ_RECEIPTS_MAX),
	IN(evq_receipts_create, flags, FIELD_ZERO),
	IN(evq_receipts_create, out_fd, FIELD_ZERO),
	IN(evq_receipts_create, reserved, FIELD_ZERO), HOW);
MEMBERS(registers, FD(RES_SUBSCRIPTION),
	IN(evq_register, match, FIELD_FLAGS, .symbols = matches),
	IN(evq_register, order, FIELD_NUMBER, .most = 3),
	IN(evq_register, id, FIELD_ID),
	IN(evq_register, key, FIELD_ID),
	IN(evq_register, type, FIELD_ID),
	IN(evq_register, priority_min, FIELD_NUMBER, .most = EVQ_LEVELS - 1),
	IN(evq_register, priority_max, FIELD_NUMBER, .most = EVQ_LEVELS - 1),
	IN(evq_register, flags, FIELD_FLAGS, .symbols = register_flags),
	IN(evq_register, cookie, FIELD_ID),
	IN(evq_register, registration, FIELD_ZERO),
	IN(evq_register, nr_first_seqs, FIELD_NUMBER, .most = EVQ_LANES_MAX),
	IN(evq_register, first_seq, FIELD_ZERO),
	IN(evq_register, first_seqs_ptr, FIELD_POINTER), HOW);
MEMBERS(unregister, FD(RES_SUBSCRIPTION),
	IN(evq_unregister, registration, FIELD_RESOURCE, .wants = RES_REGISTRATION),
	IN(evq_unregister, flags, FIELD_ZERO), HOW);
MEMBERS(subscription_info, FD(RES_SUBSCRIPTION), HOW);
MEMBERS(reader, FD(RES_SUBSCRIPTION),
	IN(evq_reader_create, flags, FIELD_ZERO),
	IN(evq_reader_create, out_fd, FIELD_ZERO), HOW);
MEMBERS(ack, FD(RES_SUBSCRIPTION),
	IN(evq_ack_many, acks_ptr, FIELD_POINTER),
	IN(evq_ack_many, nr_acks, FIELD_POINTER),
	IN(evq_ack_many, ack_size, FIELD_POINTER),
	IN(evq_ack_many, flags, FIELD_ZERO),
	IN(evq_ack_many, nr_taken, FIELD_ZERO),
	ARG(_repeat, FIELD_NUMBER, .most = 300), HOW);
MEMBERS(acks,
	IN(evq_ack, delivery, FIELD_RESOURCE, .wants = RES_DELIVERY),
	IN(evq_ack, status, FIELD_NUMBER, .most = EVQ_STATUS_MAX),
	IN(evq_ack, flags, FIELD_FLAGS, .symbols = ack_flags));
MEMBERS(ring, FD(RES_SUBSCRIPTION),
	IN(evq_ring_create, size, FIELD_ENUM, .symbols = ring_sizes),
	IN(evq_ring_create, flags, FIELD_ZERO),
	IN(evq_ring_create, reserved, FIELD_ZERO), HOW);
MEMBERS(ring_kick, FD(RES_SUBSCRIPTION),
	IN(evq_ring_kick, flags, FIELD_ZERO),
	IN(evq_ring_kick, reserved, FIELD_ZERO), HOW);
MEMBERS(submit_ring, FD(RES_QUEUE),
	IN(evq_submit_ring_create, nr_entries, FIELD_ENUM, .symbols = entries),
	IN(evq_submit_ring_create, max_payload, FIELD_LENGTH),
	IN(evq_submit_ring_create, event_size, FIELD_ENUM, .symbols = event_sizes),
	IN(evq_submit_ring_create, flags, FIELD_FLAGS, .symbols = submit_ring_flags),
	IN(evq_submit_ring_create, receipts_fd, FIELD_RESOURCE, .wants = RES_RECEIPTS),
	IN(evq_submit_ring_create, out_fd, FIELD_ZERO),
	IN(evq_submit_ring_create, reserved, FIELD_ZERO), HOW);
MEMBERS(submit_ring_kick, FD(RES_SUBMIT_RING),
	IN(evq_submit_ring_kick, flags, FIELD_FLAGS, .symbols = submit_kick_flags),
	IN(evq_submit_ring_kick, position, FIELD_NUMBER, .most = 8),
	IN(evq_submit_ring_kick, deadline_ns, FIELD_TIME), HOW);
MEMBERS(receipt_wait, FD(RES_RECEIPTS),
	IN(evq_receipt_wait, seq, FIELD_RESOURCE, .wants = RES_SEQ),
	IN(evq_receipt_wait, deadline_ns, FIELD_TIME),
	IN(evq_receipt_wait, lane, FIELD_NUMBER, .most = 1),
	IN(evq_receipt_wait, flags, FIELD_ZERO), HOW);
MEMBERS(receipts_info, FD(RES_RECEIPTS), HOW);

/* Other calls. Of open and sysfs, @queue is a name, 0 the default queue's. */
MEMBERS(opens, ARG(queue, FIELD_NAME), ARG(flags, FIELD_FLAGS, .symbols = open_flags));
MEMBERS(reads, FD(RES_SUBSCRIPTION), ARG(size, FIELD_LENGTH),
	ARG(_arg, FIELD_ENUM, .symbols = args));
MEMBERS(writes, FD(RES_ANY_FD), ARG(size, FIELD_LENGTH));
MEMBERS(polls, FD(RES_ANY_FD), ARG(events, FIELD_FLAGS, .symbols = poll_events),
	ARG(timeout_ms, FIELD_NUMBER, .most = 2));
MEMBERS(epolls, FD(RES_ANY_FD), ARG(events, FIELD_FLAGS, .symbols = poll_events),
	ARG(edge, FIELD_NUMBER, .most = 1));
MEMBERS(fds, FD(RES_ANY_FD));
MEMBERS(nonblocks, FD(RES_ANY_FD), ARG(on, FIELD_NUMBER, .most = 1));
MEMBERS(passes, FD(RES_ANY_FD), ARG(leave, FIELD_NUMBER, .most = 1));
MEMBERS(files, ARG(queue, FIELD_NAME), ARG(file, FIELD_NUMBER, .most = 27),
	ARG(value, FIELD_NUMBER, .most = 1 << 20), ARG(write, FIELD_NUMBER, .most = 1));
/* @from: 0: @value itself; 1: so far past the tail; 2: so far before it */
MEMBERS(scribbles, FD(RES_SUBSCRIPTION), ARG(word, FIELD_NUMBER, .most = 2),
	ARG(value, FIELD_NUMBER, .most = 1 << 13), ARG(from, FIELD_NUMBER, .most = 2));
/* @by: so many entries become submitted, of which this is the first */
MEMBERS(entry, FD(RES_SUBMIT_RING),
	IN(evq_event_desc, id, FIELD_ID),
	IN(evq_event_desc, key, FIELD_ID),
	IN(evq_event_desc, cookie, FIELD_NUMBER, .most = 3),
	IN(evq_event_desc, type, FIELD_NUMBER, .most = 3),
	IN(evq_event_desc, priority, FIELD_NUMBER, .most = EVQ_LEVELS - 1),
	IN(evq_event_desc, flags, FIELD_FLAGS, .symbols = event_flags),
	IN(evq_event_desc, data_len, FIELD_LENGTH),
	IN(evq_event_desc, reserved, FIELD_ZERO),
	ARG(by, FIELD_NUMBER, .most = 3));
/* Anywhere in what a program can write */
MEMBERS(smears, FD(RES_SUBMIT_RING), ARG(word, FIELD_NUMBER, .most = 200),
	ARG(value, FIELD_NUMBER, .most = 300));
MEMBERS(settles, FD(RES_QUEUE));
MEMBERS(forks, ARG(calls, FIELD_NUMBER, .most = 4), ARG(stay, FIELD_NUMBER, .most = 1));
MEMBERS(kills, ARG(child, FIELD_RESOURCE, .wants = RES_CHILD));
MEMBERS(signals, ARG(restart, FIELD_NUMBER, .most = 1));
MEMBERS(sleeps, ARG(us, FIELD_NUMBER, .most = 3000));
MEMBERS(drops, ARG(uid, FIELD_NUMBER, .most = 2));

#define ALLOWED(name, ...) static const int name[] = { __VA_ARGS__ }

ALLOWED(none, 0);
ALLOWED(create_errors, EPERM, EEXIST, EDQUOT, ENOSPC, ENOMEM, EMFILE, ENFILE, 0);
ALLOWED(destroy_errors, EPERM, ENOENT, 0);
ALLOWED(handle_errors, EACCES, ENOMEM, EMFILE, ENFILE, 0);
ALLOWED(set_errors, EACCES, ENOMEM, 0);
ALLOWED(control_errors, EACCES, EBUSY, ESHUTDOWN, ETIMEDOUT, 0);
ALLOWED(submit_errors, EACCES, EAGAIN, ETIMEDOUT, EINTR, ESHUTDOWN, EMSGSIZE, ENOMEM, EDQUOT,
	EEXIST, ENOBUFS, EOPNOTSUPP, 0);
ALLOWED(subscribe_errors, EACCES, EDQUOT, ENOSPC, ENOMEM, EMFILE, ENFILE, 0);
ALLOWED(state_errors, ENOENT, 0);
ALLOWED(forget_errors, EACCES, ENOENT, 0);
ALLOWED(receipts_errors, EACCES, EDQUOT, ENOMEM, EMFILE, ENFILE, 0);
ALLOWED(register_errors, EDQUOT, ENOSPC, ENOMEM, 0);
ALLOWED(ack_errors, ENOENT, ESTALE, 0);
ALLOWED(reader_errors, EOPNOTSUPP, ENOMEM, EMFILE, ENFILE, 0);
ALLOWED(ring_errors, EOPNOTSUPP, EBUSY, EDQUOT, ENOMEM, 0);
ALLOWED(kick_errors, ENXIO, ENOMEM, 0);
ALLOWED(submit_ring_errors, EACCES, EBADF, EDQUOT, EMSGSIZE, ENOMEM, EMFILE, ENFILE, 0);
ALLOWED(submit_kick_errors, EBADFD, ETIMEDOUT, EINTR, 0);
ALLOWED(wait_errors, EAGAIN, ETIMEDOUT, ENOENT, 0);
ALLOWED(open_errors, EACCES, ENOENT, ENXIO, EMFILE, ENFILE, ENOMEM, ENAMETOOLONG, 0);
ALLOWED(read_errors, EAGAIN, EBUSY, EINTR, EMSGSIZE, ENOTCONN, 0);
ALLOWED(fd_errors, EMFILE, ENFILE, ENOMEM, EPERM, ETOOMANYREFS, EAGAIN, 0);
ALLOWED(file_errors, ENOENT, EACCES, EIO, ENODEV, ERANGE, ENOMEM, EMFILE, 0);

#define IOCTL(what, in, may, how_often, ...)                              \
	{                                                                 \
		.name = #what, .cmd = EVQ_IOC_##what, .fields = in,       \
		.errors = may, .weight = how_often, __VA_ARGS__           \
	}
#define OTHER(what, in, may, how_often, ...)                              \
	{                                                                 \
		.name = #what, .fields = in, .errors = may,               \
		.weight = how_often, __VA_ARGS__                          \
	}

const struct call_type call_types[] = {
	IOCTL(FEATURES, features, none, 1),
	IOCTL(QUEUE_CREATE, queue_create, create_errors, 5, .makes = RES_QUEUE),
	IOCTL(QUEUE_HANDLE, queue_handle, handle_errors, 4, .makes = RES_QUEUE),
	IOCTL(QUEUE_INFO, queue_info, none, 4),
	IOCTL(QUEUE_SET, queue_set, set_errors, 10),
	IOCTL(QUEUE_CONTROL, queue_control, control_errors, 8),
	IOCTL(SUBMIT, submit, submit_errors, 30, .elements = events,
	      .element_size = sizeof(struct evq_event_desc), .makes = RES_SEQ),
	IOCTL(SUBSCRIBE, subscribe, subscribe_errors, 10, .makes = RES_SUBSCRIPTION),
	IOCTL(QUEUE_DESTROY, queue_destroy, destroy_errors, 4),
	IOCTL(LANE_INFO, lane_info, none, 6),
	IOCTL(EVENT_STATE, event_state, state_errors, 5),
	IOCTL(FORGET, forget, forget_errors, 4),
	IOCTL(RECEIPTS, receipts, receipts_errors, 4, .makes = RES_RECEIPTS),
	IOCTL(REGISTER, registers, register_errors, 15, .makes = RES_REGISTRATION),
	IOCTL(UNREGISTER, unregister, state_errors, 6),
	IOCTL(SUBSCRIPTION_INFO, subscription_info, none, 4),
	IOCTL(READER, reader, reader_errors, 4, .makes = RES_SUBSCRIPTION),
	IOCTL(ACK, ack, ack_errors, 10, .elements = acks,
	      .element_size = sizeof(struct evq_ack)),
	IOCTL(RING, ring, ring_errors, 6),
	IOCTL(RING_KICK, ring_kick, kick_errors, 6),
	IOCTL(SUBMIT_RING, submit_ring, submit_ring_errors, 6, .makes = RES_SUBMIT_RING),
	IOCTL(SUBMIT_RING_KICK, submit_ring_kick, submit_kick_errors, 8),
	IOCTL(RECEIPT_WAIT, receipt_wait, wait_errors, 5),
	IOCTL(RECEIPTS_INFO, receipts_info, none, 4),
	OTHER(open, opens, open_errors, 4, .makes = RES_QUEUE),
	OTHER(read, reads, read_errors, 20, .makes = RES_DELIVERY),
	OTHER(write, writes, none, 1),
	OTHER(poll, polls, none, 3),
	OTHER(epoll, epolls, fd_errors, 2, .makes = RES_ANY_FD),
	OTHER(close, fds, none, 6),
	OTHER(dup, fds, fd_errors, 2, .makes = RES_ANY_FD),
	OTHER(nonblock, nonblocks, none, 3),
	OTHER(pass, passes, fd_errors, 2, .makes = RES_ANY_FD),
	OTHER(fdinfo, fds, fd_errors, 2),
	OTHER(sysfs, files, file_errors, 2),
	OTHER(mmap, fds, none, 1),
	OTHER(scribble, scribbles, none, 6),
	OTHER(put, entry, none, 12),
	OTHER(smear, smears, none, 4),
	OTHER(seek, fds, none, 1),
	OTHER(settle, settles, none, 12, .waits = true),
	OTHER(sleep, sleeps, none, 2, .waits = true),
	OTHER(fork, forks, none, 3, .makes = RES_CHILD, .here = true),
	OTHER(kill, kills, none, 2, .here = true),
	OTHER(signal, signals, none, 3, .here = true),
	OTHER(drop, drops, none, 1, .here = true),
};

const unsigned int nr_call_types = ARRAY_SIZE_OF(call_types);

const char *forbidden_call;
int forbidden_error;

unsigned int nr_fields(const struct field *fields)
{
	unsigned int n = 0;

	while (fields && fields[n].name)
		n++;
	return n;
}

int field_find(const struct field *fields, const char *name)
{
	for (int i = 0; fields && fields[i].name; i++)
		if (!strcmp(fields[i].name, name))
			return i;
	return -1;
}

int call_type_find(const char *name)
{
	for (unsigned int i = 0; i < nr_call_types; i++)
		if (!strcmp(call_types[i].name, name))
			return i;
	return -1;
}

size_t name_of(__u64 number, char *to)
{
	static const char *const names[] = {
		"", "f1", "f2", "f3", "f4", "default", "bad/name", ".hidden", "f1\0x",
	};

	memset(to, 0, EVQ_NAME_SIZE);
	if (number >= ARRAY_SIZE_OF(names)) {
		/* nothing ends it */
		memset(to, 'x', EVQ_NAME_SIZE);
		return EVQ_NAME_SIZE;
	}
	memcpy(to, names[number], number == 8 ? 4 : strlen(names[number]));
	return strlen(to);
}

const char *error_name(int error)
{
	return error ? strerrorname_np(error) : "0";
}

static bool among(const int *errors, int error)
{
	for (; *errors; errors++)
		if (*errors == error)
			return true;
	return false;
}

bool may_return(const struct call_type *type, int error)
{
	/* What any call may say of a wrong descriptor, or of a wrong structure. */
	static const int any[] = { EBADF, EINVAL, ENOTTY, EFAULT, 0 };
	static const int of_ioctls[] = { E2BIG, 0 };

	if (forbidden_call && error == forbidden_error && !strcmp(type->name, forbidden_call))
		return false;
	return !error || among(any, error) || among(type->errors, error) ||
	       (type->cmd && among(of_ioctls, error));
}
