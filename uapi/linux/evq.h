/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * evq - bounded, ordered, multi-subscriber event queue
 *
 * A program opens /dev/evq (the default queue) or makes an anonymous queue
 * with EVQ_IOC_QUEUE_CREATE. Producers submit events; the queue's lane numbers
 * them in the order in which it accepts them; a kernel thread, the dispatcher,
 * takes them one by one, highest priority first, and hands a reference to the
 * read queue of every subscription that has a matching registration; programs
 * read() records from their subscription.
 *
 *     SUBMIT -> lane -> dispatcher -> index -> read queue -> read()
 *
 * There are two kinds of file descriptor:
 *
 *   queue         open("/dev/evq"), QUEUE_CREATE, QUEUE_HANDLE
 *                 carries rights (enum evq_right); POLLOUT: a submit is likely
 *                 not to block; POLLHUP: the queue is stopped
 *   subscription  SUBSCRIBE
 *                 read() gives records; POLLIN: there is something to read;
 *                 POLLHUP: the queue is stopped and everything was read
 *
 * Every fd that evq returns is close-on-exec, works with poll(2), select(2),
 * epoll(7), O_NONBLOCK, survives fork(2) and may be passed over a Unix socket.
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
 *   EACCES     the fd does not carry the right that the call needs
 *   EAGAIN     the call was asked not to wait, and would have to
 *   EBUSY      START of a queue that is still stopping
 *   EFAULT     a pointer is not readable, or not writable, as the call needs
 *   EINTR      a signal came before anything was done, and its handler does
 *              not restart calls (SA_RESTART); the call may be made again
 *   EINVAL     an unknown flag, a reserved field that is not zero, a value out
 *              of its range, a structure shorter than its first version
 *   EMFILE     the process has no free file descriptor (ENFILE: the system)
 *   EMSGSIZE   a payload is longer than the queue's max_payload; a read buffer
 *              is too small for the next record (nothing is lost)
 *   ENOENT     no registration has this number
 *   ENOMEM     no memory, or the memory cgroup is at its limit
 *   ENOSPC     as many queues, subscriptions or registrations exist as may
 *   ENOTTY     not a command of this kind of fd, or not its direction
 *   ESHUTDOWN  the queue is stopping or stopped
 *   ESPIPE     lseek(2), pread(2)
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

/** define EVQ_SUBMIT_MAX - most events in one EVQ_IOC_SUBMIT */
#define EVQ_SUBMIT_MAX		1024

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
 * @EVQ_RIGHT_SUBMIT: EVQ_IOC_SUBMIT
 * @EVQ_RIGHT_SUBSCRIBE: EVQ_IOC_SUBSCRIBE
 * @EVQ_RIGHT_CONTROL: EVQ_IOC_QUEUE_SET and EVQ_IOC_QUEUE_CONTROL
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
};

/** define EVQ_LOST_SLOTS - room for causes in the arrays named "lost" */
#define EVQ_LOST_SLOTS		12

/**
 * struct evq_features - what this kernel's evq can do (EVQ_IOC_FEATURES)
 * @abi_version: EVQ_ABI_VERSION of the module
 * @nr_causes: number of causes in enum evq_lost that the module knows
 * @features: reserved for bits that name optional abilities; 0 for now
 * @max_queues: most anonymous queues at a time, all users together
 * @max_subscriptions: most subscriptions of one queue
 * @max_registrations: most registrations of one subscription
 * @submit_max: most events in one EVQ_IOC_SUBMIT
 * @capacity_max: largest capacity of a queue, events
 * @payload_max: largest max_payload of a queue, bytes
 * @records_max: largest max_records of a subscription
 * @bytes_max: largest max_bytes of a subscription
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
};

/** define EVQ_QUEUE_PAUSED - the queue starts paused, see EVQ_CONTROL_START */
#define EVQ_QUEUE_PAUSED	(1U << 0)

/**
 * struct evq_queue_create - make an anonymous queue (EVQ_IOC_QUEUE_CREATE)
 * @capacity: most events that may wait in the queue, 1 to EVQ_CAPACITY_MAX;
 *	0: EVQ_CAPACITY_DEFAULT
 * @max_payload: longest payload in bytes, 1 to EVQ_PAYLOAD_MAX;
 *	0: EVQ_PAYLOAD_DEFAULT
 * @flags: EVQ_QUEUE_PAUSED, or 0
 * @out_fd: returned: a queue fd with every right
 *
 * Only for an fd that came from opening the device; takes no right. The queue
 * lives as long as its fds. When its last queue fd is closed it drains, as
 * nobody can submit any more, and its subscriptions come to their end of file.
 */
struct evq_queue_create {
	__u32 capacity;
	__u32 max_payload;
	__u32 flags;
	__s32 out_fd;
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
 * struct evq_queue_set - change the limits of a queue (EVQ_IOC_QUEUE_SET)
 * @capacity: as in struct evq_queue_create; 0: leave it
 * @max_payload: as in struct evq_queue_create; 0: leave it
 * @flags: 0
 * @reserved: 0
 *
 * Needs EVQ_RIGHT_CONTROL. A capacity below what waits loses nothing: the queue
 * is full until enough is dispatched. A larger one admits blocked producers.
 */
struct evq_queue_set {
	__u32 capacity;
	__u32 max_payload;
	__u32 flags;
	__u32 reserved;
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
 * struct evq_queue_info - state and ledger of a queue (EVQ_IOC_QUEUE_INFO)
 * @state: one of enum evq_state
 * @rights: rights of this fd, bits of enum evq_right
 * @capacity: most events that may wait
 * @max_payload: longest payload, bytes
 * @nr_lanes: number of lanes; 1
 * @nr_subscriptions: subscriptions of the queue
 * @nr_blocked: producers that wait for room
 * @reserved: 0
 * @next_seq: number that the next accepted event gets; the first is 1
 * @accepted: events accepted since the queue was made
 * @waiting: of these, not dispatched yet; those that the dispatcher is handing
 *	out are among them, but take no room any more
 * @dispatched: of these, handed to the subscriptions that matched, if any
 * @evicted: of these, pushed out to make room, before any matching
 * @aborted: of these, discarded by an abort, before any matching
 *
 * At any moment accepted = waiting + dispatched + evicted + aborted. Takes no right.
 */
struct evq_queue_info {
	__u32 state;
	__u32 rights;
	__u32 capacity;
	__u32 max_payload;
	__u32 nr_lanes;
	__u32 nr_subscriptions;
	__u32 nr_blocked;
	__u32 reserved;
	__u64 next_seq;
	__u64 accepted;
	__u64 waiting;
	__u64 dispatched;
	__u64 evicted;
	__u64 aborted;
};

/**
 * struct evq_event_desc - an event, as its producer describes it
 * @id: the producer's own name for the event; 0: none
 * @key: events of equal key keep their order in every mode of a queue
 * @data_ptr: address of the payload; ignored where @data_len is 0
 * @data_len: length of the payload in bytes, at most the queue's max_payload
 * @type: the producer's choice; registrations can ask for one
 * @priority: 0 (lowest) to EVQ_LEVELS - 1
 * @flags: 0
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
	__u64 seq;
	__u32 lane;
	__u32 reserved;
};

/** define EVQ_SUBMIT_NONBLOCK - do not wait for room, as if the fd had O_NONBLOCK */
#define EVQ_SUBMIT_NONBLOCK	(1U << 0)
/** define EVQ_SUBMIT_RESULTS - write @seq and @lane into each description taken */
#define EVQ_SUBMIT_RESULTS	(1U << 1)

/**
 * struct evq_submit - submit one or many events (EVQ_IOC_SUBMIT)
 * @events_ptr: address of an array of struct evq_event_desc
 * @nr_events: its length, 1 to EVQ_SUBMIT_MAX
 * @event_size: size of an element, sizeof(struct evq_event_desc); elements grow
 *	as structures do; a multiple of 8, at most 4096
 * @deadline_ns: when to stop waiting for room; 0: never
 * @flags: EVQ_SUBMIT_NONBLOCK, EVQ_SUBMIT_RESULTS
 * @nr_taken: returned: events accepted, from the first
 *
 * Needs EVQ_RIGHT_SUBMIT. Events are accepted one by one, in their order. While
 * the queue is full the call waits in line: of the producers that wait with
 * events of one priority, the first to come is the first to be served, event by
 * event, and nobody overtakes; a higher priority does not wait for a lower one.
 *
 * Success means that the first @nr_taken events, at least one, were accepted.
 * Fewer than @nr_events were if the queue was full and the call might not wait
 * (longer), a signal came, the queue stopped, or the next description is bad:
 * submitting the rest gives the reason. The errors (EAGAIN, ETIMEDOUT, EINTR,
 * ESHUTDOWN, EINVAL, EMSGSIZE, E2BIG, EFAULT, ENOMEM) mean that none was.
 */
struct evq_submit {
	__u64 events_ptr;
	__u32 nr_events;
	__u32 event_size;
	__u64 deadline_ns;
	__u32 flags;
	__u32 nr_taken;
};

/**
 * enum evq_policy - which record goes when a read queue is full
 * @EVQ_POLICY_DROP_OLDEST: the one that has waited longest
 * @EVQ_POLICY_DROP_NEWEST: the one that arrives
 */
enum evq_policy {
	EVQ_POLICY_DROP_OLDEST	= 0,
	EVQ_POLICY_DROP_NEWEST	= 1,
};

/**
 * struct evq_subscribe - make a subscription (EVQ_IOC_SUBSCRIBE)
 * @policy: one of enum evq_policy
 * @flags: 0
 * @max_records: most records that may be queued, 1 to EVQ_RECORDS_MAX;
 *	0: EVQ_RECORDS_DEFAULT
 * @max_bytes: most payload bytes that may be queued or in hand, 1 to
 *	EVQ_BYTES_MAX; 0: EVQ_BYTES_DEFAULT. A payload shared with other subscriptions counts
 *	in full
 * @out_fd: returned: a subscription fd, for read(), poll() and the ioctls below
 * @reserved: 0
 *
 * Needs EVQ_RIGHT_SUBSCRIBE. It receives nothing until something is registered.
 */
struct evq_subscribe {
	__u32 policy;
	__u32 flags;
	__u32 max_records;
	__u32 max_bytes;
	__s32 out_fd;
	__u32 reserved;
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
 * @flags: 0
 * @cookie: handed back in each record, as in epoll(7)
 * @registration: returned: number of the registration within its subscription,
 *	not used again as long as the subscription lives
 * @reserved: 0
 * @first_seq: returned: lowest sequence number that it can match. Matching is
 *	decided when an event is dispatched: the registration matches the events
 *	that wait in the queue now and those accepted later
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
	__u32 reserved;
	__u64 first_seq;
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
 * @policy: one of enum evq_policy
 * @nr_registrations: registrations it has
 * @max_records: most records queued
 * @max_bytes: most payload bytes queued
 * @bytes: payload bytes queued and in hand
 * @matched: records that dispatched events had for it: one for each event and
 *	each registration that matched
 * @delivered: of these, read
 * @queued: of these, waiting to be read
 * @in_hand: of these, being copied by a read() now
 * @lost: of these, lost, by cause (enum evq_lost)
 *
 * At any moment matched = delivered + queued + in_hand + the sum of lost.
 */
struct evq_subscription_info {
	__u32 policy;
	__u32 nr_registrations;
	__u32 max_records;
	__u32 max_bytes;
	__u64 bytes;
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

/**
 * struct evq_record - the header of every record
 * @size: bytes from this header to the next, a multiple of 8
 * @kind: one of enum evq_record_kind
 * @flags: 0
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
 * @lane: lane that numbered the event; 0
 * @registration: number of the registration that matched
 * @priority: as submitted
 * @pid: process (thread group) that submitted it, in the reader's pid
 *	namespace; 0 where it has no number there
 * @uid: effective user that submitted it, in the reader's user namespace; the
 *	overflow uid where it has no number there
 * @gid: effective group, likewise
 * @data_off: offset of the payload from the start of the record
 * @data_len: length of the payload, bytes
 * @reserved: 0
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
	__u32 reserved;
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

/**
 * struct evq_gap_record - something is missing at this place
 * @head: header; @head.kind is EVQ_RECORD_GAP
 * @first_seq: lowest sequence number that was lost here
 * @last_seq: highest sequence number that was lost here
 * @scope: one of enum evq_scope
 * @lane: lane of these numbers; 0
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
 * The commands. The last column of each comment names the fd it works on.
 */
#define EVQ_IOC_MAGIC		0xE7

/* any: limits and abilities */
#define EVQ_IOC_FEATURES	_IOR(EVQ_IOC_MAGIC, 0x00, struct evq_features)

/* device: a new anonymous queue */
#define EVQ_IOC_QUEUE_CREATE	_IOWR(EVQ_IOC_MAGIC, 0x10, struct evq_queue_create)
/* queue: a further fd with fewer rights */
#define EVQ_IOC_QUEUE_HANDLE	_IOWR(EVQ_IOC_MAGIC, 0x11, struct evq_queue_handle)
/* queue: state and ledger */
#define EVQ_IOC_QUEUE_INFO	_IOR(EVQ_IOC_MAGIC, 0x12, struct evq_queue_info)
/* queue, control: change limits */
#define EVQ_IOC_QUEUE_SET	_IOW(EVQ_IOC_MAGIC, 0x13, struct evq_queue_set)
/* queue, control: start, pause, drain, abort */
#define EVQ_IOC_QUEUE_CONTROL	_IOW(EVQ_IOC_MAGIC, 0x14, struct evq_queue_control)
/* queue, submit: events */
#define EVQ_IOC_SUBMIT		_IOWR(EVQ_IOC_MAGIC, 0x15, struct evq_submit)
/* queue, subscribe: a new subscription */
#define EVQ_IOC_SUBSCRIBE	_IOWR(EVQ_IOC_MAGIC, 0x16, struct evq_subscribe)

/* subscription: a new registration */
#define EVQ_IOC_REGISTER	_IOWR(EVQ_IOC_MAGIC, 0x20, struct evq_register)
/* subscription: remove a registration */
#define EVQ_IOC_UNREGISTER	_IOW(EVQ_IOC_MAGIC, 0x21, struct evq_unregister)
/* subscription: limits and ledger */
#define EVQ_IOC_SUBSCRIPTION_INFO _IOR(EVQ_IOC_MAGIC, 0x22, struct evq_subscription_info)

#endif /* _UAPI_LINUX_EVQ_H */
