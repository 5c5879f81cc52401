/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * evq - bounded, ordered, multi-subscriber event queue
 *
 * A program opens /dev/evq (the default queue), /dev/evq-NAME (a named one), or
 * makes an anonymous queue with EVQ_IOC_QUEUE_CREATE. Producers submit events; a
 * lane of the queue numbers them in the order in which it accepts them; a kernel
 * thread, the lane's dispatcher, takes them one by one, highest priority first,
 * and hands a reference to the read queue of every subscription that has a
 * matching registration; programs read() records from their subscription, and,
 * where they asked for that, acknowledge them, which in the end gives the
 * producer a receipt.
 *
 *     SUBMIT -> lane -> dispatcher -> index -> read queue -> read()
 *                          |                                   |
 *                       history -> replay ------------------> read() -> ACK
 *                                                                        |
 *     read() <- receipts <-----------------------------------------------+
 *
 * There are four kinds of file descriptor:
 *
 *   queue         open("/dev/evq"), open("/dev/evq-NAME"), QUEUE_CREATE,
 *                 QUEUE_HANDLE
 *                 carries rights (enum evq_right); POLLOUT: a submit is likely
 *                 not to block; POLLHUP: the queue is stopped
 *   subscription  SUBSCRIBE, READER
 *                 read() gives records; POLLIN: there is something to read;
 *                 POLLHUP: the queue is stopped and everything was read, or
 *                 (with POLLERR) the subscription was disconnected
 *   submission ring  SUBMIT_RING
 *                 mmap(); POLLOUT: there is room; POLLIN: everything has its result
 *   receipts      RECEIPTS
 *                 read() gives receipts; POLLIN: there is one
 *
 * Order
 * -----
 * (lane, sequence number) names an event. Within one lane and one priority every
 * subscription receives events in the order of their numbers. A queue has one
 * lane unless asked otherwise; then that order is total. With several lanes,
 * events of equal key share a lane and keep their order; there is no order
 * across lanes. A higher priority overtakes a lower one only while both wait.
 *
 * Every fd that evq returns is close-on-exec, works with poll(2), select(2),
 * epoll(7), io_uring(7), O_NONBLOCK, survives fork(2) and may be passed over a Unix socket.
 *
 * How the structures grow
 * -----------------------
 * The size of a structure is part of its ioctl number. The kernel accepts a
 * structure from an older header (missing fields count as zero) and from a
 * newer one (fields that it does not know must be zero). A field that is zero
 * always means the behaviour of before the field existed. Fields named
 * "reserved" must be zero. All times are CLOCK_MONOTONIC nanoseconds; all
 * deadlines are absolute, so that a call restarted after a signal does not wait
 * longer than was asked.
 *
 * Errors
 * ------
 * An ioctl returns 0, or -1 with errno set as below. After an error nothing
 * has changed: nothing accepted, created, numbered, counted or lost. (Where
 * another thread unmaps the argument while the call runs, EFAULT may come after
 * the effect.)
 *
 *   E2BIG      a structure has a non-zero byte beyond what this kernel knows
 *   EACCES     the fd does not carry the right that the call needs; a priority
 *              above the queue's open_level without EVQ_RIGHT_CONTROL; the
 *              queue does not consent to gates, or not to one that long
 *   EAGAIN     the call was asked not to wait, and would have to
 *   EBADF      receipts_fd is not open, or not a receipts fd of this queue
 *   EBADFD     a kick of a submission ring that is broken
 *   EBUSY      START of a queue that is still stopping; a ring for a subscription that has one, or
 *              of which a read is under way; read(2) where there is a ring
 *   EDQUOT     the user has as much of something as he may have: events or
 *              bytes waiting, bytes of rings, queues, subscriptions, registrations, receipts
 *   EEXIST     a unique event's id is pending or retained; a queue of that name
 *              exists
 *   EFAULT     a pointer is not readable, or not writable, as the call needs
 *   EINTR      a signal came before anything was done, and its handler does
 *              not restart calls (SA_RESTART); the call may be made again
 *   EINVAL     an unknown flag, a reserved field that is not zero, a value out
 *              of its range, a structure shorter than its first version
 *   EMFILE     the process has no free file descriptor (ENFILE: the system)
 *   EMSGSIZE   a payload is longer than the queue's max_payload; a read buffer
 *              is too small for the next record (nothing is lost)
 *   ENOBUFS    EVQ_URING_SUBMIT: it would have to wait, which is EAGAIN elsewhere
 *   ENODEV     mmap(2) of what has no ring
 *   ENOENT     no registration has this number, no queue this name, no pending
 *              or retained event this id, no outstanding event this sequence
 *              number, no delivery this token
 *   ENOMEM     no memory, or the memory cgroup is at its limit
 *   ENOSPC     as many queues, subscriptions or registrations exist as may, all
 *              users together
 *   ENOTCONN   read(2): the subscription was disconnected, and all that was
 *              queued before has been read
 *   ENOTTY     not a command of this kind of fd, or not its direction
 *   EPERM      a named queue is made or destroyed without CAP_SYS_ADMIN in the
 *              initial user namespace
 *   ENXIO      a kick of a subscription without a ring
 *   EOPNOTSUPP a ring for what cannot have one, or a further reader where there is one
 *   ESHUTDOWN  the queue is stopping or stopped; START of one that was destroyed
 *   ESPIPE     lseek(2), pread(2)
 *   ESTALE     the delivery was acknowledged before, has timed out, or went to
 *              another reader since
 *   ETIMEDOUT  the deadline passed before anything was done
 */
#ifndef _UAPI_LINUX_EVQ_H
#define _UAPI_LINUX_EVQ_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * define EVQ_ABI_VERSION - version of this interface
 *
 * Goes up when something is added. Nothing is ever taken away.
 */
#define EVQ_ABI_VERSION		1

/** define EVQ_LEVELS - number of priority levels; 0 is the lowest */
#define EVQ_LEVELS		64

/** define EVQ_CAPACITY_DEFAULT - events that a new queue holds, unless asked otherwise */
#define EVQ_CAPACITY_DEFAULT	1024
/** define EVQ_CAPACITY_MAX - most events that a queue can be asked to hold */
#define EVQ_CAPACITY_MAX	(1U << 20)

/** define EVQ_PAYLOAD_DEFAULT - longest payload of a new queue, bytes */
#define EVQ_PAYLOAD_DEFAULT	4096
/** define EVQ_PAYLOAD_MAX - longest payload that a queue can be set to take, bytes */
#define EVQ_PAYLOAD_MAX		(1U << 20)

/** define EVQ_LANES_MAX - most lanes of a queue */
#define EVQ_LANES_MAX		64

/** define EVQ_NAME_SIZE - room for a queue's name and the zero byte that ends it */
#define EVQ_NAME_SIZE		32

/** define EVQ_HISTORY_MAX - most events that a lane can be set to retain */
#define EVQ_HISTORY_MAX		(1U << 20)

/** define EVQ_SUBMIT_MAX - most events in one EVQ_IOC_SUBMIT */
#define EVQ_SUBMIT_MAX		1024

/** define EVQ_ACK_MAX - most acknowledgments in one EVQ_IOC_ACK */
#define EVQ_ACK_MAX		1024

/** define EVQ_RECEIPTS_DEFAULT - receipts that a new receipts fd has room for */
#define EVQ_RECEIPTS_DEFAULT	1024
/** define EVQ_RECEIPTS_MAX - most receipts that can be asked for */
#define EVQ_RECEIPTS_MAX	(1U << 16)

/** define EVQ_ATTEMPTS_DEFAULT - deliveries of a record before it counts as poison */
#define EVQ_ATTEMPTS_DEFAULT	5
/** define EVQ_ATTEMPTS_MAX - most deliveries that can be asked for */
#define EVQ_ATTEMPTS_MAX	65535

/** define EVQ_WAKE_INTERVAL_MAX - longest time between wake-ups that can be asked for, ns */
#define EVQ_WAKE_INTERVAL_MAX	1000000000ULL

/** define EVQ_STATUS_MAX - largest status of an acknowledgment, an errno */
#define EVQ_STATUS_MAX		4095

/** define EVQ_RECORDS_DEFAULT - records that a new read queue holds */
#define EVQ_RECORDS_DEFAULT	1024
/** define EVQ_RECORDS_MAX - most records that a read queue can be asked to hold */
#define EVQ_RECORDS_MAX		(1U << 16)

/** define EVQ_BYTES_DEFAULT - payload bytes that a new read queue may hold on to */
#define EVQ_BYTES_DEFAULT	(4U << 20)
/** define EVQ_BYTES_MAX - most payload bytes that a read queue can be allowed */
#define EVQ_BYTES_MAX		(256U << 20)

/**
 * enum evq_right - what the holder of a queue fd may do
 * @EVQ_RIGHT_SUBMIT: EVQ_IOC_SUBMIT, EVQ_IOC_RECEIPTS
 * @EVQ_RIGHT_SUBSCRIBE: EVQ_IOC_SUBSCRIBE
 * @EVQ_RIGHT_CONTROL: EVQ_IOC_QUEUE_SET, EVQ_IOC_QUEUE_CONTROL, EVQ_IOC_FORGET,
 *	and priorities above the queue's open_level
 *
 * Rights belong to the open file. On a device node opening for writing gives
 * SUBMIT, opening for reading gives SUBSCRIBE, and opening with CAP_SYS_ADMIN
 * in the initial user namespace adds CONTROL. The fd that EVQ_IOC_QUEUE_CREATE
 * returns has all three.
 */
enum evq_right {
	EVQ_RIGHT_SUBMIT	= 1 << 0,
	EVQ_RIGHT_SUBSCRIBE	= 1 << 1,
	EVQ_RIGHT_CONTROL	= 1 << 2,
};

/**
 * enum evq_state - what a queue is doing
 * @EVQ_STATE_RUNNING: accepts and dispatches
 * @EVQ_STATE_PAUSED: accepts, does not dispatch
 * @EVQ_STATE_STOPPING: accepts nothing, dispatches what it had accepted
 * @EVQ_STATE_STOPPED: accepts nothing, holds nothing
 */
enum evq_state {
	EVQ_STATE_RUNNING	= 0,
	EVQ_STATE_PAUSED	= 1,
	EVQ_STATE_STOPPING	= 2,
	EVQ_STATE_STOPPED	= 3,
};

/**
 * enum evq_lost - why a record never reached its reader
 * @EVQ_LOST_OVERFLOW: the read queue was full, in records or in bytes; its
 *	policy chose which record went
 * @EVQ_LOST_NOMEM: no memory to queue the record
 * @EVQ_LOST_UNREGISTERED: its registration was removed while it was queued
 * @EVQ_LOST_ABORTED: queue scope: the event was discarded by
 *	EVQ_CONTROL_ABORT, or by a drain past its deadline, before it was matched
 * @EVQ_LOST_EVICTED: queue scope: the event had to make room for another
 *	before it was matched
 * @EVQ_LOST_COALESCED: EVQ_POLICY_COALESCE: a later record of the same key and
 *	registration took its place
 * @EVQ_LOST_DISCONNECTED: the subscription was disconnected
 * @EVQ_LOST_PINNED: the payloads of the queue's events took more memory than
 *	max_pinned, and this subscription held the most
 * @EVQ_LOST_POISON: delivered max_attempts times to readers that went away
 *	before they acknowledged it
 * @EVQ_LOST_CHAIN: a subscription earlier in the chain stopped it, see
 *	EVQ_ACK_STOP
 * @EVQ_LOST_HISTORY: queue scope: the event left the history before a replay
 *	came to it; whether it would have matched is not known. Counts also those
 *	that EVQ_IOC_FORGET had removed from among these, as the history does not
 *	know any more which they were; those that it removed elsewhere are not
 *	counted at all
 *
 * These index the arrays named "lost". Causes of queue scope never appear in a
 * subscription's own ledger, as such events were never matched with it.
 */
enum evq_lost {
	EVQ_LOST_OVERFLOW	= 0,
	EVQ_LOST_NOMEM		= 1,
	EVQ_LOST_UNREGISTERED	= 2,
	EVQ_LOST_ABORTED	= 3,
	EVQ_LOST_EVICTED	= 4,
	EVQ_LOST_COALESCED	= 5,
	EVQ_LOST_DISCONNECTED	= 6,
	EVQ_LOST_PINNED		= 7,
	EVQ_LOST_POISON		= 8,
	EVQ_LOST_CHAIN		= 9,
	EVQ_LOST_HISTORY	= 10,
};

/** define EVQ_LOST_SLOTS - room for causes in the arrays named "lost" */
#define EVQ_LOST_SLOTS		12

/**
 * struct evq_features - what this kernel's evq can do (EVQ_IOC_FEATURES)
 * @abi_version: EVQ_ABI_VERSION of the module
 * @nr_causes: number of causes in enum evq_lost that the module knows
 * @features: reserved for bits that name optional abilities; 0 for now
 * @max_queues: most queues at a time besides the default one, all users together
 * @max_subscriptions: most subscriptions of one queue
 * @max_registrations: most registrations of one subscription
 * @submit_max: most events in one EVQ_IOC_SUBMIT
 * @capacity_max: largest capacity of a queue, events
 * @payload_max: largest max_payload of a queue, bytes
 * @records_max: largest max_records of a subscription
 * @bytes_max: largest max_bytes of a subscription
 * @lanes_max: most lanes of a queue
 * @history_max: most events that a lane can retain
 * @receipts_max: largest capacity of a receipts fd
 * @ack_max: most acknowledgments in one EVQ_IOC_ACK
 * @reserved: 0
 *
 * Works on every evq fd.
 */
struct evq_features {
	__u32 abi_version;
	__u32 nr_causes;
	__u64 features;
	__u32 max_queues;
	__u32 max_subscriptions;
	__u32 max_registrations;
	__u32 submit_max;
	__u32 capacity_max;
	__u32 payload_max;
	__u32 records_max;
	__u32 bytes_max;
	__u32 lanes_max;
	__u32 history_max;
	__u32 receipts_max;
	__u32 ack_max;
	__u64 reserved;
};

/** define EVQ_QUEUE_PAUSED - the queue starts paused, see EVQ_CONTROL_START */
#define EVQ_QUEUE_PAUSED	(1U << 0)

/**
 * struct evq_queue_create - make a queue (EVQ_IOC_QUEUE_CREATE)
 * @capacity: most events that may wait in each lane, 1 to EVQ_CAPACITY_MAX;
 *	0: EVQ_CAPACITY_DEFAULT
 * @max_payload: longest payload in bytes, 1 to EVQ_PAYLOAD_MAX;
 *	0: EVQ_PAYLOAD_DEFAULT
 * @flags: EVQ_QUEUE_PAUSED, or 0
 * @out_fd: returned: a queue fd with every right
 * @nr_lanes: number of lanes, 1 to EVQ_LANES_MAX; 0: 1
 * @mode: of a named queue: permission bits of its device node; otherwise 0
 * @uid: of a named queue: owner of its device node, in the caller's user
 *	namespace; otherwise 0
 * @gid: of a named queue: group of its device node, likewise
 * @name: its name, ended by a zero byte, the rest zero; empty: the queue is
 *	anonymous. 1 to EVQ_NAME_SIZE - 1 of the characters A-Z a-z 0-9 . _ -,
 *	the first of them a letter or a digit
 *
 * Only for an fd that came from opening the device; takes no right. An
 * anonymous queue lives as long as its queue fds. When the last one is closed it
 * drains, as nobody can submit any more, and its subscriptions come to their end
 * of file.
 *
 * A named queue takes CAP_SYS_ADMIN (EPERM). It has a device node /dev/evq-NAME
 * and a folder /sys/class/evq/NAME, and lives until EVQ_IOC_QUEUE_DESTROY. The
 * names "default" and of existing queues are taken (EEXIST).
 */
struct evq_queue_create {
	__u32 capacity;
	__u32 max_payload;
	__u32 flags;
	__s32 out_fd;
	__u32 nr_lanes;
	__u32 mode;
	__u32 uid;
	__u32 gid;
	__u8 name[EVQ_NAME_SIZE];
};

/**
 * struct evq_queue_destroy - destroy a named queue (EVQ_IOC_QUEUE_DESTROY)
 * @name: its name, as in struct evq_queue_create
 * @flags: 0
 * @reserved: 0
 *
 * Only for an fd that came from opening a device; takes CAP_SYS_ADMIN. The name
 * is free and the node gone when the call returns. A queue that is in use drains:
 * its fds stay valid, submits fail with ESHUTDOWN, its subscriptions read on to
 * their end.
 */
struct evq_queue_destroy {
	__u8 name[EVQ_NAME_SIZE];
	__u32 flags;
	__u32 reserved;
};

/**
 * struct evq_queue_handle - a further fd of the same queue (EVQ_IOC_QUEUE_HANDLE)
 * @rights: bits of enum evq_right, at least one, none that the fd lacks (EACCES)
 * @flags: 0
 * @out_fd: returned: a queue fd with just these rights
 * @reserved: 0
 */
struct evq_queue_handle {
	__u32 rights;
	__u32 flags;
	__s32 out_fd;
	__u32 reserved;
};

/**
 * enum evq_set - which settings EVQ_IOC_QUEUE_SET changes
 * @EVQ_SET_CAPACITY: @capacity
 * @EVQ_SET_MAX_PAYLOAD: @max_payload
 * @EVQ_SET_MODE: @mode
 * @EVQ_SET_LOW_MARK: @low_mark
 * @EVQ_SET_KERNEL_RESERVE: @kernel_reserve
 * @EVQ_SET_OPEN_LEVEL: @open_level
 * @EVQ_SET_USER_SHARE: @user_share
 * @EVQ_SET_HISTORY: @history_events
 * @EVQ_SET_ACK_TIMEOUT: @ack_timeout_ns
 * @EVQ_SET_GATE_MAX: @gate_max_ns
 * @EVQ_SET_MAX_PINNED: @max_pinned
 * @EVQ_SET_HISTORY_BYTES: @history_bytes
 */
enum evq_set {
	EVQ_SET_CAPACITY	= 1 << 0,
	EVQ_SET_MAX_PAYLOAD	= 1 << 1,
	EVQ_SET_MODE		= 1 << 2,
	EVQ_SET_LOW_MARK	= 1 << 3,
	EVQ_SET_KERNEL_RESERVE	= 1 << 4,
	EVQ_SET_OPEN_LEVEL	= 1 << 5,
	EVQ_SET_USER_SHARE	= 1 << 6,
	EVQ_SET_HISTORY		= 1 << 7,
	EVQ_SET_ACK_TIMEOUT	= 1 << 8,
	EVQ_SET_GATE_MAX	= 1 << 9,
	EVQ_SET_MAX_PINNED	= 1 << 10,
	EVQ_SET_HISTORY_BYTES	= 1 << 11,
};

/**
 * define EVQ_MODE_EVICT - a submit that finds the lane full evicts an event
 *
 * The oldest of the lowest level goes, if that level is not above the new event's;
 * where everything that waits is of a higher level the submit waits as usual.
 */
#define EVQ_MODE_EVICT		(1U << 0)
/**
 * define EVQ_MODE_SEQUENTIAL - one subscription after the other
 *
 * An event goes to the subscriptions that it matches in the order of their creation, to
 * the next one when every record of the one before is settled, that is, acknowledged (by
 * reading, where the subscription is without EVQ_SUBSCRIBE_ACK), lost, or timed
 * out; and event n + 1 of a lane begins when event n is through. Needs an
 * ack_timeout_ns.
 */
#define EVQ_MODE_SEQUENTIAL	(1U << 1)
/**
 * define EVQ_MODE_NO_DIRECT - submitters do not dispatch
 *
 * Otherwise whoever submits while the dispatcher of the lane sleeps may hand out a bounded
 * number of records itself, which saves waking the dispatcher where few registrations match.
 * What is promised is the same.
 */
#define EVQ_MODE_NO_DIRECT	(1U << 2)

/**
 * struct evq_queue_settings - what can be set of a queue
 * @capacity: most events that may wait in each lane, 1 to EVQ_CAPACITY_MAX. One
 *	below what waits loses nothing: the lane is full until enough is
 *	dispatched. A larger one admits blocked producers
 * @max_payload: longest payload, bytes, 1 to EVQ_PAYLOAD_MAX
 * @mode: EVQ_MODE_EVICT, EVQ_MODE_SEQUENTIAL, EVQ_MODE_NO_DIRECT
 * @low_mark: POLLOUT, once gone, comes back when no more than so many events
 *	wait in a lane; 0: as soon as there is room
 * @kernel_reserve: of @capacity, so many are for producers in the kernel; below
 *	@capacity
 * @open_level: highest priority that does not need EVQ_RIGHT_CONTROL
 * @user_share: most events of one user that may wait in the queue, or be
 *	blocked before it; 0: no such limit. Beyond it a submit fails with EDQUOT.
 *	Does not apply to CAP_SYS_RESOURCE
 * @reserved: 0
 * @history_events: dispatched events that each lane retains, 0 to
 *	EVQ_HISTORY_MAX
 * @history_bytes: most payload bytes of these, for each lane; 0: no such limit
 * @ack_timeout_ns: how long after its dispatch a tracked event waits to be
 *	acknowledged; what is not by then has failed with ETIMEDOUT. 0: for ever
 * @gate_max_ns: how long EVQ_POLICY_GATE may hold a lane, from the next time on; 0: not at all
 * @max_pinned: payload bytes of all events of the queue, waiting, retained,
 *	queued and in hand, above which the subscription that holds the most loses its
 *	oldest records; 0: no such limit
 */
struct evq_queue_settings {
	__u32 capacity;
	__u32 max_payload;
	__u32 mode;
	__u32 low_mark;
	__u32 kernel_reserve;
	__u32 open_level;
	__u32 user_share;
	__u32 reserved;
	__u64 history_events;
	__u64 history_bytes;
	__u64 ack_timeout_ns;
	__u64 gate_max_ns;
	__u64 max_pinned;
};

/**
 * struct evq_queue_set - change settings of a queue (EVQ_IOC_QUEUE_SET)
 * @set: bits of enum evq_set, at least one
 * @flags: 0
 * @to: the new values; 0 where @set does not name them
 *
 * Needs EVQ_RIGHT_CONTROL. All are changed or none.
 */
struct evq_queue_set {
	__u32 set;
	__u32 flags;
	struct evq_queue_settings to;
};

/**
 * enum evq_control_op - what EVQ_IOC_QUEUE_CONTROL does
 * @EVQ_CONTROL_START: dispatch (again). A stopped queue starts anew; sequence
 *	numbers go on. EBUSY while the queue is stopping
 * @EVQ_CONTROL_PAUSE: accept, but do not dispatch. An event whose dispatch has
 *	begun is finished. ESHUTDOWN on a queue that is stopping or stopped
 * @EVQ_CONTROL_DRAIN: accept nothing more, dispatch what was accepted, then
 *	stop; waits for that, until @deadline_ns, when it becomes an abort and the
 *	call fails with ETIMEDOUT if anything was discarded. A wait ended by a fatal
 *	signal leaves the queue draining. Also drains a paused queue. Joins a drain
 *	that has begun before, whatever its deadline
 * @EVQ_CONTROL_ABORT: accept nothing more, discard and count what waits, then
 *	stop; waits for an event whose dispatch has begun
 *
 * Once DRAIN or ABORT has begun a submit fails with ESHUTDOWN, also one that
 * was blocked (or it returns what was taken before).
 */
enum evq_control_op {
	EVQ_CONTROL_START	= 1,
	EVQ_CONTROL_PAUSE	= 2,
	EVQ_CONTROL_DRAIN	= 3,
	EVQ_CONTROL_ABORT	= 4,
};

/**
 * struct evq_queue_control - start, pause or stop a queue (EVQ_IOC_QUEUE_CONTROL)
 * @op: one of enum evq_control_op
 * @flags: 0
 * @deadline_ns: for EVQ_CONTROL_DRAIN: when it becomes an abort; 0: never.
 *	0 for the others
 *
 * Needs EVQ_RIGHT_CONTROL. Doing what is already so succeeds.
 */
struct evq_queue_control {
	__u32 op;
	__u32 flags;
	__u64 deadline_ns;
};

/**
 * struct evq_queue_info - state, settings and ledger of a queue (EVQ_IOC_QUEUE_INFO)
 * @state: one of enum evq_state
 * @rights: rights of this fd, bits of enum evq_right
 * @nr_lanes: number of lanes
 * @nr_subscriptions: subscriptions of the queue
 * @nr_blocked: producers that wait for room
 * @reserved: 0
 * @settings: as set
 * @next_seq: number that the next event which lane 0 accepts gets; the first is 1
 * @accepted: events accepted since the queue was made, in all lanes
 * @waiting: of these, not dispatched yet; those that a dispatcher is handing
 *	out are among them, but take no room any more
 * @dispatched: of these, handed to the subscriptions that matched, if any
 * @evicted: of these, pushed out to make room, before any matching
 * @aborted: of these, discarded by an abort, before any matching
 * @retained: events in the history
 * @retained_bytes: payload bytes of these
 * @pinned: payload bytes of all events of the queue that are in memory
 * @refused: events that producers in the kernel could not submit, as their pool
 *	was empty or the queue stopped
 *
 * At any moment accepted = waiting + dispatched + evicted + aborted. Takes no right.
 */
struct evq_queue_info {
	__u32 state;
	__u32 rights;
	__u32 nr_lanes;
	__u32 nr_subscriptions;
	__u32 nr_blocked;
	__u32 reserved;
	struct evq_queue_settings settings;
	__u64 next_seq;
	__u64 accepted;
	__u64 waiting;
	__u64 dispatched;
	__u64 evicted;
	__u64 aborted;
	__u64 retained;
	__u64 retained_bytes;
	__u64 pinned;
	__u64 refused;
};

/**
 * struct evq_lane_info - state and ledger of a lane (EVQ_IOC_LANE_INFO)
 * @lane: which, 0 to nr_lanes - 1; EINVAL if there is no such lane
 * @state: returned: one of enum evq_state
 * @nr_blocked: returned: producers that wait for room
 * @pid: returned: the kernel thread that dispatches, named evq/QUEUE:LANE, for
 *	sched_setaffinity(2) and sched_setscheduler(2); in the caller's pid
 *	namespace, 0 where it has no number there
 * @next_seq: returned: number that the next accepted event gets
 * @accepted: returned: as in struct evq_queue_info, and so the rest
 * @waiting: returned
 * @dispatched: returned
 * @evicted: returned
 * @aborted: returned
 * @retained: returned
 * @retained_bytes: returned
 *
 * At any moment accepted = waiting + dispatched + evicted + aborted. Takes no right.
 */
struct evq_lane_info {
	__u32 lane;
	__u32 state;
	__u32 nr_blocked;
	__u32 pid;
	__u64 next_seq;
	__u64 accepted;
	__u64 waiting;
	__u64 dispatched;
	__u64 evicted;
	__u64 aborted;
	__u64 retained;
	__u64 retained_bytes;
};

/**
 * define EVQ_EVENT_UNIQUE - refuse the event (EEXIST) while one with its id is
 * pending or retained; the id is not 0 (EINVAL)
 */
#define EVQ_EVENT_UNIQUE	(1U << 0)
/** define EVQ_EVENT_TRACKED - give a receipt, see struct evq_receipt; needs EVQ_SUBMIT_RECEIPTS */
#define EVQ_EVENT_TRACKED	(1U << 1)

/**
 * struct evq_event_desc - an event, as its producer describes it
 * @id: the producer's own name for the event; 0: none
 * @key: events of equal key keep their order in every mode of a queue
 * @data_ptr: address of the payload; ignored where @data_len is 0
 * @data_len: length of the payload in bytes, at most the queue's max_payload
 * @type: the producer's choice; registrations can ask for one
 * @priority: 0 (lowest) to EVQ_LEVELS - 1
 * @flags: EVQ_EVENT_UNIQUE, EVQ_EVENT_TRACKED
 * @cookie: handed back in the receipt; 0 if the event is not tracked
 * @seq: returned if EVQ_SUBMIT_RESULTS is given: the sequence number
 * @lane: returned if EVQ_SUBMIT_RESULTS is given: the lane that numbered it
 * @reserved: 0
 *
 * What comes in as @seq and @lane is ignored.
 */
struct evq_event_desc {
	__u64 id;
	__u64 key;
	__u64 data_ptr;
	__u32 data_len;
	__u32 type;
	__u32 priority;
	__u32 flags;
	__u64 cookie;
	__u64 seq;
	__u32 lane;
	__u32 reserved;
};

/** define EVQ_SUBMIT_NONBLOCK - do not wait for room, as if the fd had O_NONBLOCK */
#define EVQ_SUBMIT_NONBLOCK	(1U << 0)
/** define EVQ_SUBMIT_RESULTS - write @seq and @lane into each description taken */
#define EVQ_SUBMIT_RESULTS	(1U << 1)
/** define EVQ_SUBMIT_RECEIPTS - tracked events report to @receipts_fd */
#define EVQ_SUBMIT_RECEIPTS	(1U << 2)

/**
 * struct evq_submit - submit one or many events (EVQ_IOC_SUBMIT)
 * @events_ptr: address of an array of struct evq_event_desc
 * @nr_events: its length, 1 to EVQ_SUBMIT_MAX
 * @event_size: size of an element, sizeof(struct evq_event_desc); elements grow
 *	as structures do; a multiple of 8, at most 4096
 * @deadline_ns: when to stop waiting for room; 0: never
 * @flags: EVQ_SUBMIT_NONBLOCK, EVQ_SUBMIT_RESULTS, EVQ_SUBMIT_RECEIPTS
 * @nr_taken: returned: events accepted, from the first
 * @receipts_fd: with EVQ_SUBMIT_RECEIPTS: a receipts fd of this queue; otherwise 0
 * @reserved: 0
 *
 * A tracked event first reserves the room for its receipt; where there is none,
 * the call waits for that as it does for room in the queue.
 *
 * Needs EVQ_RIGHT_SUBMIT. Events are accepted one by one, in their order. While
 * the queue is full the call waits in line: of the producers that wait with
 * events of one priority, the first to come is the first to be served, event by
 * event, and nobody overtakes; a higher priority does not wait for a lower one.
 *
 * Success means that the first @nr_taken events, at least one, were accepted.
 * Fewer than @nr_events were if the queue was full and the call might not wait
 * (longer), a signal came, the queue stopped, or the next event cannot be taken:
 * submitting the rest gives the reason. The errors (EAGAIN, ETIMEDOUT, EINTR,
 * ESHUTDOWN, EINVAL, EMSGSIZE, E2BIG, EFAULT, ENOMEM, EDQUOT, EEXIST, EACCES) mean
 * that none was.
 */
struct evq_submit {
	__u64 events_ptr;
	__u32 nr_events;
	__u32 event_size;
	__u64 deadline_ns;
	__u32 flags;
	__u32 nr_taken;
	__s32 receipts_fd;
	__u32 reserved;
};

/**
 * enum evq_event_status - how far an event has come
 * @EVQ_EVENT_PENDING: accepted, not dispatched yet
 * @EVQ_EVENT_DISPATCHED: some of its callbacks are not settled
 * @EVQ_EVENT_COMPLETE: all of its callbacks are settled
 */
enum evq_event_status {
	EVQ_EVENT_PENDING	= 1,
	EVQ_EVENT_DISPATCHED	= 2,
	EVQ_EVENT_COMPLETE	= 3,
};

/**
 * struct evq_event_state - what became of an id (EVQ_IOC_EVENT_STATE)
 * @id: which, not 0
 * @flags: 0
 * @nr_events: returned: events with this id that are pending or retained, at
 *	least one; what follows is of the one accepted last
 * @seq: returned: its sequence number
 * @lane: returned: the lane that numbered it
 * @status: returned: one of enum evq_event_status
 * @callbacks: returned: while it is pending, registrations that match it now;
 *	then, those that it was delivered to
 * @completed: returned: of these, completed: acknowledged with status 0, or, where the
 *	subscription is without EVQ_SUBSCRIBE_ACK, read
 * @failed: returned: of these, failed: see struct evq_receipt
 * @reserved: 0
 *
 * ENOENT if there is none. Takes no right.
 */
struct evq_event_state {
	__u64 id;
	__u32 flags;
	__u32 nr_events;
	__u64 seq;
	__u32 lane;
	__u32 status;
	__u32 callbacks;
	__u32 completed;
	__u32 failed;
	__u32 reserved;
};

/** define EVQ_FORGET_ALL - forget every retained event; @id is 0 then */
#define EVQ_FORGET_ALL		(1U << 0)

/**
 * struct evq_forget - remove events from the history (EVQ_IOC_FORGET)
 * @id: those with this id, not 0, unless EVQ_FORGET_ALL is given; ENOENT if
 *	there are none
 * @flags: EVQ_FORGET_ALL, or 0
 * @reserved: 0
 * @nr_forgotten: returned: how many were removed
 *
 * Needs EVQ_RIGHT_CONTROL. What is queued or read already stays.
 */
struct evq_forget {
	__u64 id;
	__u32 flags;
	__u32 reserved;
	__u64 nr_forgotten;
};

/**
 * struct evq_receipts_create - make a receipts fd (EVQ_IOC_RECEIPTS)
 * @capacity: most receipts, outstanding and unread, 1 to EVQ_RECEIPTS_MAX;
 *	0: EVQ_RECEIPTS_DEFAULT
 * @flags: 0
 * @out_fd: returned: a receipts fd, for read(), poll(), EVQ_IOC_SUBMIT and the
 *	ioctls below
 * @reserved: 0
 *
 * Needs EVQ_RIGHT_SUBMIT. Closing it abandons its receipts; the events go on.
 */
struct evq_receipts_create {
	__u32 capacity;
	__u32 flags;
	__s32 out_fd;
	__u32 reserved;
};

/** define EVQ_RECEIPT_STOPPED - a subscription stopped the chain: EVQ_ACK_STOP */
#define EVQ_RECEIPT_STOPPED	(1U << 0)

/**
 * struct evq_receipt - the outcome of a tracked event; read() gives whole ones
 * @cookie: as submitted
 * @seq: sequence number of the event
 * @id: as submitted
 * @lane: lane that numbered the event
 * @status: 0 if no callback failed, otherwise the errno of the first that did
 * @callbacks: records that the event was delivered as
 * @completed: of these, acknowledged with status 0
 * @failed: of these, failed
 * @flags: EVQ_RECEIPT_STOPPED
 * @subscription: number of the subscription that failed first, or stopped the
 *	chain; of several that time out together, any; 0 if none did, or a
 *	callback in the kernel. Numbers begin at 1
 * @registration: the registration of that
 * @pid: process that acknowledged that, in the reader's pid namespace; 0 if it
 *	has no number there, or none did
 *
 * A callback has failed if it was acknowledged with another status than 0 (then
 * that), or was never acknowledged and never will be:
 *
 *   ECONNRESET  the subscription was closed
 *   ETIMEDOUT   it ran past the queue's ack_timeout_ns
 *   EOVERFLOW   its read queue was full, or it held the most (cause PINNED)
 *   ESTALE      coalesced
 *   ENOMEM      no memory to queue it
 *   ENOENT      its registration was removed
 *   ENOTCONN    the subscription was disconnected
 *   EBADMSG     poison
 *
 * An event that was never dispatched has no callbacks, and the status ENOBUFS
 * (evicted) or ECANCELED (aborted).
 *
 * completed + failed = callbacks.
 */
struct evq_receipt {
	__u64 cookie;
	__u64 seq;
	__u64 id;
	__u32 lane;
	__u32 status;
	__u32 callbacks;
	__u32 completed;
	__u32 failed;
	__u32 flags;
	__u64 subscription;
	__u32 registration;
	__u32 pid;
};

/**
 * struct evq_receipt_wait - wait for a receipt (EVQ_IOC_RECEIPT_WAIT)
 * @seq: sequence number of a tracked event that was submitted with this fd; 0:
 *	wait until none is outstanding, and read nothing
 * @deadline_ns: when to stop waiting (ETIMEDOUT); 0: never
 * @lane: lane that numbered the event
 * @flags: 0
 * @receipt: returned: the receipt, which counts as read. 0 with @seq 0
 *
 * Only a fatal signal ends the wait. With O_NONBLOCK it does not wait (EAGAIN). ENOENT
 * if the event is none of this fd's, or its receipt was read.
 */
struct evq_receipt_wait {
	__u64 seq;
	__u64 deadline_ns;
	__u32 lane;
	__u32 flags;
	struct evq_receipt receipt;
};

/**
 * struct evq_receipts_info - limits and ledger of a receipts fd (EVQ_IOC_RECEIPTS_INFO)
 * @capacity: most receipts, outstanding and unread
 * @reserved: 0
 * @outstanding: receipts of events that are not complete, or not accepted yet
 * @ready: receipts that can be read
 * @read: receipts that were read
 */
struct evq_receipts_info {
	__u32 capacity;
	__u32 reserved;
	__u64 outstanding;
	__u64 ready;
	__u64 read;
};

/**
 * enum evq_policy - what happens when a read queue is full
 * @EVQ_POLICY_DROP_OLDEST: the record that has waited longest goes
 * @EVQ_POLICY_DROP_NEWEST: the one that arrives goes
 * @EVQ_POLICY_COALESCE: a record goes as soon as a later one of the same key and
 *	registration arrives, which is appended; and if it is full all the
 *	same, the one that has waited longest
 * @EVQ_POLICY_DISCONNECT: the subscription is disconnected: it receives nothing
 *	more, what is queued can be read, then a gap, then ENOTCONN
 * @EVQ_POLICY_GATE: the lane waits until there is room; if that takes longer
 *	than @gate_ns, the subscription is disconnected
 */
enum evq_policy {
	EVQ_POLICY_DROP_OLDEST	= 0,
	EVQ_POLICY_DROP_NEWEST	= 1,
	EVQ_POLICY_COALESCE	= 2,
	EVQ_POLICY_DISCONNECT	= 3,
	EVQ_POLICY_GATE		= 4,
};

/**
 * define EVQ_SUBSCRIBE_ACK - a record is delivered when it is acknowledged
 *
 * Each record that is read is in hand until EVQ_IOC_ACK, and goes back to its place in the
 * read queue, ahead of all that nobody has read, if its reader's fd is closed before. Without
 * this flag it is delivered, and counts as acknowledged with status 0, as soon as it is read.
 */
#define EVQ_SUBSCRIBE_ACK		(1U << 0)
/**
 * define EVQ_SUBSCRIBE_KEY_EXCLUSIVE - records of one key are never in the hands
 * of two readers; needs EVQ_SUBSCRIBE_ACK
 */
#define EVQ_SUBSCRIBE_KEY_EXCLUSIVE	(1U << 1)

/**
 * struct evq_subscribe - make a subscription (EVQ_IOC_SUBSCRIBE)
 * @policy: one of enum evq_policy
 * @flags: EVQ_SUBSCRIBE_ACK, EVQ_SUBSCRIBE_KEY_EXCLUSIVE
 * @max_records: most records that may be queued, 1 to EVQ_RECORDS_MAX;
 *	0: EVQ_RECORDS_DEFAULT
 * @max_bytes: most payload bytes that may be queued or in hand, 1 to
 *	EVQ_BYTES_MAX; 0: EVQ_BYTES_DEFAULT. A payload shared with other subscriptions counts
 *	in full
 * @out_fd: returned: a subscription fd, for read(), poll() and the ioctls below
 * @max_in_hand: with EVQ_SUBSCRIBE_ACK: most records in hand; while there are so
 *	many, nothing can be read. 1 to EVQ_RECORDS_MAX; 0: as @max_records. Without
 *	it 0
 * @max_attempts: with EVQ_SUBSCRIBE_ACK: how often a record is delivered at
 *	most, before it counts as lost, EVQ_LOST_POISON; 1 to EVQ_ATTEMPTS_MAX;
 *	0: EVQ_ATTEMPTS_DEFAULT. Without it 0
 * @wake_records: readers and pollers are woken when so many records are queued,
 *	at most @max_records, or a gap or the end is there; 0: 1. Until then a read
 *	waits, through io_uring too; with O_NONBLOCK it takes what there is
 * @gate_ns: for EVQ_POLICY_GATE: how long it may hold a lane, at most the
 *	queue's gate_max_ns (EACCES), at least 1; otherwise 0
 * @wake_interval_ns: for so long after a wake-up for records no other comes; what is queued
 *	in that time wakes at its end, while whoever looks finds it at once. At most
 *	EVQ_WAKE_INTERVAL_MAX; 0: each time that there is something to wake for
 * @subscription: returned: its number within its queue; the first is 1
 *
 * Needs EVQ_RIGHT_SUBSCRIBE. It receives nothing until something is registered.
 */
struct evq_subscribe {
	__u32 policy;
	__u32 flags;
	__u32 max_records;
	__u32 max_bytes;
	__s32 out_fd;
	__u32 max_in_hand;
	__u32 max_attempts;
	__u32 wake_records;
	__u64 gate_ns;
	__u64 wake_interval_ns;
	__u64 subscription;
};

/**
 * struct evq_reader_create - a further fd of the same subscription (EVQ_IOC_READER)
 * @flags: 0
 * @out_fd: returned: a subscription fd
 *
 * Readers share the records: each goes to one of them. The fd that SUBSCRIBE
 * returned is a reader like the others; the subscription is closed with the
 * last. When the last reference to a reader's open file goes, what it has in
 * hand returns to its place in the read queue, ahead of all that nobody has read,
 * to be delivered to another. (That includes references that other processes
 * inherited or were sent.)
 */
struct evq_reader_create {
	__u32 flags;
	__s32 out_fd;
};

/**
 * define EVQ_ACK_STOP - the event goes to no further subscription
 *
 * Of a queue that is EVQ_MODE_SEQUENTIAL; of others it is ignored. What would have matched
 * in later subscriptions is lost there, EVQ_LOST_CHAIN.
 */
#define EVQ_ACK_STOP		(1U << 0)

/**
 * struct evq_ack - the acknowledgment of one record
 * @delivery: as in its struct evq_event_record
 * @status: 0: completed; otherwise an errno, up to EVQ_STATUS_MAX: failed
 * @flags: EVQ_ACK_STOP, or 0
 */
struct evq_ack {
	__u64 delivery;
	__u32 status;
	__u32 flags;
};

/**
 * struct evq_ack_many - acknowledge records (EVQ_IOC_ACK)
 * @acks_ptr: address of an array of struct evq_ack
 * @nr_acks: its length, 1 to EVQ_ACK_MAX
 * @ack_size: size of an element, sizeof(struct evq_ack); a multiple of 8, at
 *	most 4096
 * @flags: 0
 * @nr_taken: returned: acknowledgments taken, from the first
 *
 * Through any fd of the subscription. Success means that the first @nr_taken, at
 * least one, were taken; acknowledging the rest gives the reason why no more
 * were. The errors (EINVAL, EFAULT, E2BIG, ENOENT, ESTALE) mean that none was.
 */
struct evq_ack_many {
	__u64 acks_ptr;
	__u32 nr_acks;
	__u32 ack_size;
	__u32 flags;
	__u32 nr_taken;
};

/** define EVQ_MATCH_ID - only events whose id equals @id; without it any */
#define EVQ_MATCH_ID		(1U << 0)
/** define EVQ_MATCH_TYPE - only events whose type equals @type; without it any */
#define EVQ_MATCH_TYPE		(1U << 1)
/** define EVQ_MATCH_KEY - only events whose key equals @key; without it any */
#define EVQ_MATCH_KEY		(1U << 2)
/** define EVQ_MATCH_PRIORITY - only from @priority_min to @priority_max, both included */
#define EVQ_MATCH_PRIORITY	(1U << 3)

/**
 * define EVQ_REGISTER_REPLAY - begin with the events that the queue retains
 *
 * The records of retained events that match come first, in the order of their
 * dispatch, lane after lane, flagged EVQ_RECORD_REPLAYED; then those of events
 * dispatched since, without gap or double. They are looked up as they are read,
 * so they take no room in
 * the read queue; where the history moves on meanwhile, a gap says so, EVQ_LOST_HISTORY.
 */
#define EVQ_REGISTER_REPLAY	(1U << 0)

/**
 * struct evq_register - register a callback (EVQ_IOC_REGISTER)
 * @match: which of the next fields restrict: EVQ_MATCH_ID, _TYPE, _KEY,
 *	_PRIORITY; 0: every event matches. A field that does not restrict is 0
 * @order: of the callbacks of one subscription for one event, the lowest order
 *	comes first; equal ones come in the order of registration
 * @id: as in struct evq_event_desc
 * @key: as in struct evq_event_desc
 * @type: as in struct evq_event_desc
 * @priority_min: lowest priority that matches
 * @priority_max: highest priority that matches, at least @priority_min
 * @flags: EVQ_REGISTER_REPLAY, or 0
 * @cookie: handed back in each record, as in epoll(7)
 * @registration: returned: number of the registration within its subscription,
 *	not used again as long as the subscription lives
 * @nr_first_seqs: length of the array at @first_seqs_ptr, at most EVQ_LANES_MAX;
 *	0: none is wanted
 * @first_seq: returned: lowest sequence number of lane 0 that it can match,
 *	replay apart. Matching is
 *	decided when an event is dispatched: the registration matches the events
 *	that wait in the queue now and those accepted later
 * @first_seqs_ptr: address of an array of __u64, which gets the same of each
 *	lane; 0 if @nr_first_seqs is. Elements beyond nr_lanes are set to 0
 */
struct evq_register {
	__u32 match;
	__s32 order;
	__u64 id;
	__u64 key;
	__u32 type;
	__u32 priority_min;
	__u32 priority_max;
	__u32 flags;
	__u64 cookie;
	__u32 registration;
	__u32 nr_first_seqs;
	__u64 first_seq;
	__u64 first_seqs_ptr;
};

/**
 * struct evq_unregister - remove a registration (EVQ_IOC_UNREGISTER)
 * @registration: its number
 * @flags: 0
 *
 * When the call returns, nothing new matches the registration, and its queued
 * records are gone and counted as lost, EVQ_LOST_UNREGISTERED. Records that a
 * concurrent read() is copying are delivered.
 */
struct evq_unregister {
	__u32 registration;
	__u32 flags;
};

/**
 * struct evq_subscription_info - limits and ledger of a subscription
 *	(EVQ_IOC_SUBSCRIPTION_INFO)
 * @policy: as in struct evq_subscribe
 * @flags: likewise
 * @max_records: likewise
 * @max_bytes: likewise
 * @max_in_hand: likewise
 * @max_attempts: likewise
 * @wake_records: likewise
 * @nr_registrations: registrations it has
 * @nr_readers: fds it has
 * @disconnected: 1 if it was disconnected, otherwise 0
 * @gate_ns: as in struct evq_subscribe
 * @wake_interval_ns: likewise
 * @subscription: its number within its queue
 * @bytes: payload bytes queued and in hand
 * @redelivered: records that went back to their place as their reader went away
 * @matched: records that dispatched events had for it: one for each event and
 *	each registration that matched, and one for each that was replayed
 * @delivered: of these, read, and, with EVQ_SUBSCRIBE_ACK, acknowledged
 * @queued: of these, waiting to be read
 * @in_hand: of these, being copied by a read() now, or read and not yet
 *	acknowledged
 * @lost: of these, lost, by cause (enum evq_lost)
 *
 * At any moment matched = delivered + queued + in_hand + the sum of lost.
 */
struct evq_subscription_info {
	__u32 policy;
	__u32 flags;
	__u32 max_records;
	__u32 max_bytes;
	__u32 max_in_hand;
	__u32 max_attempts;
	__u32 wake_records;
	__u32 nr_registrations;
	__u32 nr_readers;
	__u32 disconnected;
	__u64 gate_ns;
	__u64 wake_interval_ns;
	__u64 subscription;
	__u64 bytes;
	__u64 redelivered;
	__u64 matched;
	__u64 delivered;
	__u64 queued;
	__u64 in_hand;
	__u64 lost[EVQ_LOST_SLOTS];
};

/*
 * Records
 * -------
 * read() on a subscription returns as many whole records as there are and fit,
 * each 8-byte aligned within the buffer and starting with its header:
 *
 *     |<--------- size --------->|<--------- size --------->|
 *     | header ... payload . pad | header ... payload . pad | ...
 *
 * It waits for the first only, and not with O_NONBLOCK (EAGAIN). If not even
 * the next record fits: EMSGSIZE. 0 is the end of file: the queue is stopped and
 * everything was read; after EVQ_CONTROL_START there may be more. A fault in the
 * middle returns the records copied before it (EFAULT if none); the others stay.
 * A reader skips kinds that it does not know.
 */

/**
 * enum evq_record_kind - what a record is
 * @EVQ_RECORD_EVENT: struct evq_event_record
 * @EVQ_RECORD_GAP: struct evq_gap_record
 */
enum evq_record_kind {
	EVQ_RECORD_EVENT	= 1,
	EVQ_RECORD_GAP		= 2,
};

/** define EVQ_RECORD_REPLAYED - of a retained event, see EVQ_REGISTER_REPLAY */
#define EVQ_RECORD_REPLAYED	(1U << 0)
/** define EVQ_RECORD_REDELIVERED - a reader had it before and went away */
#define EVQ_RECORD_REDELIVERED	(1U << 1)

/**
 * struct evq_record - the header of every record
 * @size: bytes from this header to the next, a multiple of 8
 * @kind: one of enum evq_record_kind
 * @flags: of an event: EVQ_RECORD_REPLAYED, EVQ_RECORD_REDELIVERED
 */
struct evq_record {
	__u32 size;
	__u16 kind;
	__u16 flags;
};

/**
 * struct evq_event_record - an event, for one registration
 * @head: header; @head.kind is EVQ_RECORD_EVENT
 * @cookie: of the registration that matched
 * @seq: sequence number of the event within its lane
 * @id: as submitted
 * @key: as submitted
 * @time_ns: CLOCK_MONOTONIC time at which the lane accepted the event
 * @type: as submitted
 * @lane: lane that numbered the event
 * @registration: number of the registration that matched
 * @priority: as submitted
 * @pid: process (thread group) that submitted it, in the reader's pid
 *	namespace; 0 where it has no number there
 * @uid: effective user that submitted it, in the reader's user namespace; the
 *	overflow uid where it has no number there
 * @gid: effective group, likewise
 * @data_off: offset of the payload from the start of the record
 * @data_len: length of the payload, bytes
 * @attempt: how often this record was delivered, this time included: 1, 2, ...
 * @delivery: token for EVQ_IOC_ACK, new for each attempt; 0 without
 *	EVQ_SUBSCRIBE_ACK
 *
 * The payload is followed by zero bytes up to @head.size.
 */
struct evq_event_record {
	struct evq_record head;
	__u64 cookie;
	__u64 seq;
	__u64 id;
	__u64 key;
	__u64 time_ns;
	__u32 type;
	__u32 lane;
	__u32 registration;
	__u32 priority;
	__u32 pid;
	__u32 uid;
	__u32 gid;
	__u32 data_off;
	__u32 data_len;
	__u32 attempt;
	__u64 delivery;
};

/**
 * enum evq_scope - whose loss a gap record tells
 * @EVQ_SCOPE_SUBSCRIPTION: of this subscription: records that had matched
 * @EVQ_SCOPE_QUEUE: of the queue: events that were never matched with anything,
 *	whether or not this subscription would have got them
 */
enum evq_scope {
	EVQ_SCOPE_SUBSCRIPTION	= 0,
	EVQ_SCOPE_QUEUE		= 1,
};

/** define EVQ_LANE_MIXED - a gap tells of losses in several lanes */
#define EVQ_LANE_MIXED		(~0U)

/**
 * struct evq_gap_record - something is missing at this place
 * @head: header; @head.kind is EVQ_RECORD_GAP
 * @first_seq: lowest sequence number that was lost here
 * @last_seq: highest sequence number that was lost here
 * @scope: one of enum evq_scope
 * @lane: lane of these numbers; EVQ_LANE_MIXED: of several, and then they are 0
 * @lost: how many records (of subscription scope) or events (of queue scope)
 *	were lost here, by cause (enum evq_lost)
 *
 *     queued:   1 2 3 4     limit 4, EVQ_POLICY_DROP_OLDEST
 *     arrive:   5 6
 *     read():   GAP{1..2, OVERFLOW: 2} 3 4 5 6
 *
 *     queued:   1 2 3 4     limit 4, EVQ_POLICY_DROP_NEWEST
 *     arrive:   5 6
 *     read():   1 2 3 4 GAP{5..6, OVERFLOW: 2}
 *
 * A gap takes no room in the read queue, and telling it needs no memory. Over
 * the life of a subscription the gaps add up to the losses of its ledger.
 */
struct evq_gap_record {
	struct evq_record head;
	__u64 first_seq;
	__u64 last_seq;
	__u32 scope;
	__u32 lane;
	__u64 lost[EVQ_LOST_SLOTS];
};

/*
 * Rings
 * -----
 * A subscription can have a ring, from which its program takes records without a call. There are
 * two areas to be mapped, MAP_SHARED, each as a whole: the kernel's, which the program can only
 * read, and the program's, one page, which both can write. Records are laid out as read() lays
 * them out. The ring follows itself in the kernel's area, so that each record is in one piece:
 *
 *     kernel_offset:  | struct evq_ring_kernel ... | ring | the same ring |
 *                     |<------- data_offset ------>|<size>|<--- size ---->|
 *     program_offset: | struct evq_ring_program ... |
 *
 * Positions count bytes, wrap around at 2^32, and are taken modulo size to find a place in the
 * ring. They begin anywhere: with tail equal to head.
 *
 * The program takes what is between its head and tail (load-acquire), and then stores the new
 * head (store-release), which gives the room back. When it finds nothing, and behind is set,
 * EVQ_IOC_RING_KICK moves to the ring what had no room before. When it finds nothing and behind
 * is not set, it sleeps, either in poll(2) or in epoll_wait(2), which find out for themselves; or
 * in whatever tells it of the fd without looking first, such as epoll's edge-triggered mode, and
 * then it stores 1 in armed, makes a full fence, and looks at behind and tail once more before.
 * The kernel wakes only one who has done either, and clears armed as it does. There is nothing
 * left, nor an event to come, if the state is not 0, behind is not set and tail is head, loaded
 * (acquire) in this order.
 *
 * Whatever a program writes, only what it reads itself can suffer. A head that is not between the
 * last one that was valid and tail is ignored, and the ring stays as full as it was.
 */

/** define EVQ_RING_DEFAULT - size of a ring that is not told another, bytes */
#define EVQ_RING_DEFAULT	(1U << 16)
/** define EVQ_RING_MAX - largest ring that can be asked for, bytes */
#define EVQ_RING_MAX		(1U << 24)

/**
 * struct evq_ring_create - give a subscription a ring (EVQ_IOC_RING)
 * @size: bytes, a power of two, at most EVQ_RING_MAX; 0: EVQ_RING_DEFAULT. Returned: what it has,
 *	which is at least that, and at least a page
 * @flags: 0
 * @kernel_offset: returned: where mmap(2) finds the kernel's area
 * @program_offset: returned: where mmap(2) finds the program's area
 * @kernel_size: returned: length of the kernel's area
 * @program_size: returned: length of the program's area
 * @data_offset: returned: where the ring begins in the kernel's area
 * @reserved: 0
 *
 * From then on read() fails with EBUSY, and what the subscription has queued moves to the ring as
 * there is room. What has none is queued as before: max_records, max_bytes and the policy are
 * about that. A record is delivered when it is in the ring, whether or not the program looks at
 * it: it is not lost any more, not by EVQ_IOC_UNREGISTER either. One that is longer than the
 * ring is lost, EVQ_LOST_OVERFLOW. Senders are told as the namespaces of the caller know them.
 *
 * EOPNOTSUPP with EVQ_SUBSCRIBE_ACK, with wake_records of more than 1, or with several readers.
 * The ring is there as long as the subscription; the areas keep the fd's file open.
 */
struct evq_ring_create {
	__u32 size;
	__u32 flags;
	__u64 kernel_offset;
	__u64 program_offset;
	__u32 kernel_size;
	__u32 program_size;
	__u32 data_offset;
	__u32 reserved;
};

/**
 * struct evq_ring_kick - move to the ring what there is room for (EVQ_IOC_RING_KICK)
 * @flags: 0
 * @reserved: 0
 */
struct evq_ring_kick {
	__u32 flags;
	__u32 reserved;
};

/**
 * enum evq_ring_state - what is to be expected of a ring
 * @EVQ_RING_ENDED: the queue is stopped; cleared by EVQ_CONTROL_START
 * @EVQ_RING_DISCONNECTED: the subscription was disconnected; gaps that count what it would have
 *	got since may still come
 */
enum evq_ring_state {
	EVQ_RING_ENDED		= 1 << 0,
	EVQ_RING_DISCONNECTED	= 1 << 1,
};

/**
 * struct evq_ring_kernel - beginning of the kernel's area of a ring
 * @tail: records before it are there
 * @behind: 1 if there are records that had no room, or that wait to be looked up for a replay;
 *	otherwise 0
 * @state: bits of enum evq_ring_state
 * @reserved: 0
 */
struct evq_ring_kernel {
	__u32 tail;
	__u32 behind;
	__u32 state;
	__u32 reserved;
};

/**
 * struct evq_ring_program - beginning of the program's area of a ring
 * @head: the program is done with what is before it
 * @armed: not 0: the program is about to sleep, and wants to be woken
 */
struct evq_ring_program {
	__u32 head;
	__u32 armed;
};

/*
 * Submission rings
 * ----------------
 * A program can submit events without a call, through a ring of entries. There are again two
 * areas to be mapped, MAP_SHARED, each as a whole: the kernel's, which the program can only read,
 * and the program's, which both can write:
 *
 *     kernel_offset:  | struct evq_submit_ring_kernel ... | results, nr_entries of them |
 *                     |<-------- results_offset -------->|
 *     program_offset: | struct evq_submit_ring_program ... | entries, nr_entries of them |
 *                     |<-------- entries_offset --------->|
 *
 * Positions count entries, wrap around at 2^32, and are taken modulo nr_entries to find a place.
 * They begin anywhere: with tail equal to head. An entry is entry_size bytes: a struct
 * evq_event_desc, of which data_ptr, seq and lane are ignored, and, event_size bytes from its
 * beginning, the payload.
 *
 * The program writes entries from tail on, as long as they are less than nr_entries from head
 * (load-acquire), and then stores the new tail (store-release). If then, after a full fence,
 * asleep is not 0, it calls EVQ_IOC_SUBMIT_RING_KICK, and the kernel begins to take entries. While
 * it is 0, the kernel comes by itself. The result of an entry is there as soon as head (load-
 * acquire) has passed it, until the program uses its place again. Entries are taken one after the
 * other; one that fails does not keep the next one from being taken.
 *
 * A program that waits for results does so with EVQ_SUBMIT_RING_WAIT. One that waits for room, or
 * for the last result, can also sleep in poll(2) or in epoll_wait(2), which find out for
 * themselves; or in whatever tells it of the fd without looking first, and then it stores 1 in
 * armed, makes a full fence, and looks at head once more before. POLLOUT: half of the ring is
 * free; POLLIN: everything has its result; POLLERR: the ring is broken. The kernel wakes only one
 * who has done either, and clears armed as it does.
 *
 * Whatever a program writes, only its own events can suffer. A tail that is further than
 * nr_entries from head breaks the ring, for good: nothing more is taken from it.
 */

/** define EVQ_SUBMIT_RING_DEFAULT - entries of a ring that is not told another number */
#define EVQ_SUBMIT_RING_DEFAULT	256
/** define EVQ_SUBMIT_RING_MAX - most entries that can be asked for */
#define EVQ_SUBMIT_RING_MAX	65536

/**
 * struct evq_submit_ring_create - a ring to submit through (EVQ_IOC_SUBMIT_RING)
 * @nr_entries: a power of two, at most EVQ_SUBMIT_RING_MAX; 0: EVQ_SUBMIT_RING_DEFAULT.
 *	Returned: how many there are
 * @max_payload: longest payload that an entry has room for, bytes. All entries together take
 *	EVQ_RING_MAX bytes at most
 * @event_size: sizeof(struct evq_event_desc)
 * @flags: EVQ_SUBMIT_RECEIPTS, or 0
 * @receipts_fd: receipts fd of the same queue, if EVQ_SUBMIT_RECEIPTS is given; otherwise 0
 * @out_fd: returned: the new submission ring fd, close-on-exec
 * @kernel_offset: returned: where mmap(2) of that fd finds the kernel's area
 * @program_offset: returned: where mmap(2) of that fd finds the program's area
 * @kernel_size: returned: length of the kernel's area
 * @program_size: returned: length of the program's area
 * @results_offset: returned: where the results begin in the kernel's area
 * @entries_offset: returned: where the entries begin in the program's area
 * @entry_size: returned: from one entry to the next
 * @reserved: 0
 *
 * Events have the sender that set the ring up, with the rights of the queue fd; its user and its
 * memory cgroup pay. Each is submitted when the kernel takes its entry: what EVQ_IOC_SUBMIT says
 * of an event is true of it from there on, as if it waited for room. The ring waits in line as one
 * blocked producer; for room for receipts it does not wait (EAGAIN).
 *
 * Entries of one ring are accepted in their order. When the last fd and the last mapping of it are
 * gone, what has not been taken is, as far as there is room, and the rest is dropped.
 */
struct evq_submit_ring_create {
	__u32 nr_entries;
	__u32 max_payload;
	__u32 event_size;
	__u32 flags;
	__s32 receipts_fd;
	__s32 out_fd;
	__u64 kernel_offset;
	__u64 program_offset;
	__u32 kernel_size;
	__u32 program_size;
	__u32 results_offset;
	__u32 entries_offset;
	__u32 entry_size;
	__u32 reserved;
};

/**
 * enum evq_submit_ring_state - what is to be expected of a submission ring
 * @EVQ_SUBMIT_RING_BROKEN: nothing more: tail was one that could not be
 */
enum evq_submit_ring_state {
	EVQ_SUBMIT_RING_BROKEN	= 1 << 0,
};

/**
 * struct evq_submit_ring_kernel - beginning of the kernel's area of a submission ring
 * @head: entries before it have their results
 * @asleep: not 0: a kick is needed
 * @state: bits of enum evq_submit_ring_state
 * @reserved: 0
 */
struct evq_submit_ring_kernel {
	__u32 head;
	__u32 asleep;
	__u32 state;
	__u32 reserved;
};

/**
 * struct evq_submit_ring_program - beginning of the program's area of a submission ring
 * @tail: entries before it are submitted
 * @armed: not 0: the program is about to sleep, and wants to be woken
 */
struct evq_submit_ring_program {
	__u32 tail;
	__u32 armed;
};

/**
 * struct evq_submit_result - what became of an entry
 * @seq: the sequence number; 0 if it was not accepted
 * @lane: the lane that numbered it
 * @error: 0, or the errno with which EVQ_IOC_SUBMIT would have failed
 */
struct evq_submit_result {
	__u64 seq;
	__u32 lane;
	__u32 error;
};

/** define EVQ_SUBMIT_RING_WAIT - wait until all entries before @position have their results */
#define EVQ_SUBMIT_RING_WAIT	(1U << 0)

/**
 * struct evq_submit_ring_kick - have entries taken (EVQ_IOC_SUBMIT_RING_KICK)
 * @flags: EVQ_SUBMIT_RING_WAIT, or 0
 * @position: with EVQ_SUBMIT_RING_WAIT: see there; otherwise 0
 * @deadline_ns: with EVQ_SUBMIT_RING_WAIT: when to stop waiting; 0: never
 */
struct evq_submit_ring_kick {
	__u32 flags;
	__u32 position;
	__u64 deadline_ns;
};

/*
 * The commands. The last column of each comment names the fd it works on.
 */
#define EVQ_IOC_MAGIC		0xE7

/* any: limits and abilities */
#define EVQ_IOC_FEATURES	_IOR(EVQ_IOC_MAGIC, 0x00, struct evq_features)

/* device: a new queue */
#define EVQ_IOC_QUEUE_CREATE	_IOWR(EVQ_IOC_MAGIC, 0x10, struct evq_queue_create)
/* queue: a further fd with fewer rights */
#define EVQ_IOC_QUEUE_HANDLE	_IOWR(EVQ_IOC_MAGIC, 0x11, struct evq_queue_handle)
/* queue: state, settings and ledger */
#define EVQ_IOC_QUEUE_INFO	_IOR(EVQ_IOC_MAGIC, 0x12, struct evq_queue_info)
/* queue, control: change settings */
#define EVQ_IOC_QUEUE_SET	_IOW(EVQ_IOC_MAGIC, 0x13, struct evq_queue_set)
/* queue, control: start, pause, drain, abort */
#define EVQ_IOC_QUEUE_CONTROL	_IOW(EVQ_IOC_MAGIC, 0x14, struct evq_queue_control)
/* queue, submit: events */
#define EVQ_IOC_SUBMIT		_IOWR(EVQ_IOC_MAGIC, 0x15, struct evq_submit)
/* queue, subscribe: a new subscription */
#define EVQ_IOC_SUBSCRIBE	_IOWR(EVQ_IOC_MAGIC, 0x16, struct evq_subscribe)
/* device: destroy a named queue */
#define EVQ_IOC_QUEUE_DESTROY	_IOW(EVQ_IOC_MAGIC, 0x17, struct evq_queue_destroy)
/* queue: state and ledger of one lane */
#define EVQ_IOC_LANE_INFO	_IOWR(EVQ_IOC_MAGIC, 0x18, struct evq_lane_info)
/* queue: what became of an id */
#define EVQ_IOC_EVENT_STATE	_IOWR(EVQ_IOC_MAGIC, 0x19, struct evq_event_state)
/* queue, control: remove events from the history */
#define EVQ_IOC_FORGET		_IOWR(EVQ_IOC_MAGIC, 0x1a, struct evq_forget)
/* queue, submit: a new receipts fd */
#define EVQ_IOC_RECEIPTS	_IOWR(EVQ_IOC_MAGIC, 0x1b, struct evq_receipts_create)
/* queue, submit: a new submission ring fd */
#define EVQ_IOC_SUBMIT_RING	_IOWR(EVQ_IOC_MAGIC, 0x1c, struct evq_submit_ring_create)

/* subscription: a new registration */
#define EVQ_IOC_REGISTER	_IOWR(EVQ_IOC_MAGIC, 0x20, struct evq_register)
/* subscription: remove a registration */
#define EVQ_IOC_UNREGISTER	_IOW(EVQ_IOC_MAGIC, 0x21, struct evq_unregister)
/* subscription: limits and ledger */
#define EVQ_IOC_SUBSCRIPTION_INFO _IOR(EVQ_IOC_MAGIC, 0x22, struct evq_subscription_info)
/* subscription: a further reader */
#define EVQ_IOC_READER		_IOWR(EVQ_IOC_MAGIC, 0x23, struct evq_reader_create)
/* subscription: acknowledge records */
#define EVQ_IOC_ACK		_IOWR(EVQ_IOC_MAGIC, 0x24, struct evq_ack_many)
/* subscription: a ring */
#define EVQ_IOC_RING		_IOWR(EVQ_IOC_MAGIC, 0x25, struct evq_ring_create)
/* subscription: move to the ring what there is room for */
#define EVQ_IOC_RING_KICK	_IOW(EVQ_IOC_MAGIC, 0x26, struct evq_ring_kick)

/* receipts: wait for one */
#define EVQ_IOC_RECEIPT_WAIT	_IOWR(EVQ_IOC_MAGIC, 0x30, struct evq_receipt_wait)
/* receipts: limits and ledger */
#define EVQ_IOC_RECEIPTS_INFO	_IOR(EVQ_IOC_MAGIC, 0x31, struct evq_receipts_info)

/* submission ring: have entries taken */
#define EVQ_IOC_SUBMIT_RING_KICK _IOW(EVQ_IOC_MAGIC, 0x40, struct evq_submit_ring_kick)

/*
 * io_uring
 * --------
 * IORING_OP_READ and its like on a subscription or receipts wait for as long as read(2) would, and
 * can be cancelled meanwhile; nobody sleeps for them, no worker of io_uring's either. They do so
 * with O_NONBLOCK too; with RWF_NOWAIT they fail with EAGAIN. IORING_OP_POLL_ADD is poll(2).
 *
 * The commands below are for IORING_OP_URING_CMD: the number is the entry's cmd_op, its cmd is a
 * struct evq_uring_command. Those are done when io_uring_enter(2) returns, or when the kernel's
 * thread has come to them, where one takes the entries. The result is what the command returned, or
 * a negative errno as above; it is never EAGAIN.
 */

/**
 * struct evq_uring_command - a command, within an entry of io_uring
 * @arg_ptr: address of the command's structure, which has to stay until the command is done
 * @reserved: 0
 *
 * In entries of 128 bytes what follows is not looked at.
 */
struct evq_uring_command {
	__u64 arg_ptr;
	__u64 reserved;
};

/*
 * queue, submit: as EVQ_IOC_SUBMIT with EVQ_SUBMIT_NONBLOCK, but what would have to wait fails
 * with ENOBUFS, or is a success that took less: poll for POLLOUT. deadline_ns is 0. The structure
 * is not written to: the result is nr_taken. The sender is the process and the user on whose
 * behalf the entry is taken: with IORING_SETUP_SQPOLL, those who made the ring; with a personality,
 * its user.
 */
#define EVQ_URING_SUBMIT	_IOW(EVQ_IOC_MAGIC, 0x50, struct evq_submit)

#endif /* _UAPI_LINUX_EVQ_H */
