// SPDX-License-Identifier: GPL-2.0-only
/*
 * The layout of the interface is the same for every program: each structure's
 * size and alignment, each field's offset and size, the number of each command.
 * Built as a 64-bit and as a 32-bit program, both of which then take every
 * command once through the kernel and look at each field that comes back.
 */
#include <assert.h>
#include <stddef.h>

#include "evq_harness.h"

#define SIZE(type, size)                                     \
	static_assert(sizeof(struct type) == (size), #type); \
	static_assert(sizeof(struct type) % 8 == 0, #type);  \
	static_assert(8 % _Alignof(struct type) == 0, #type)

#define FIELD(type, field, at, size)                                 \
	static_assert(offsetof(struct type, field) == (at), #field); \
	static_assert(sizeof(((struct type *)0)->field) == (size), #field)

SIZE(evq_features, 72);
FIELD(evq_features, abi_version, 0, 4);
FIELD(evq_features, nr_causes, 4, 4);
FIELD(evq_features, features, 8, 8);
FIELD(evq_features, max_queues, 16, 4);
FIELD(evq_features, max_subscriptions, 20, 4);
FIELD(evq_features, max_registrations, 24, 4);
FIELD(evq_features, submit_max, 28, 4);
FIELD(evq_features, capacity_max, 32, 4);
FIELD(evq_features, payload_max, 36, 4);
FIELD(evq_features, records_max, 40, 4);
FIELD(evq_features, bytes_max, 44, 4);
FIELD(evq_features, lanes_max, 48, 4);
FIELD(evq_features, history_max, 52, 4);
FIELD(evq_features, receipts_max, 56, 4);
FIELD(evq_features, ack_max, 60, 4);
FIELD(evq_features, reserved, 64, 8);

SIZE(evq_queue_create, 64);
FIELD(evq_queue_create, capacity, 0, 4);
FIELD(evq_queue_create, max_payload, 4, 4);
FIELD(evq_queue_create, flags, 8, 4);
FIELD(evq_queue_create, out_fd, 12, 4);
FIELD(evq_queue_create, nr_lanes, 16, 4);
FIELD(evq_queue_create, mode, 20, 4);
FIELD(evq_queue_create, uid, 24, 4);
FIELD(evq_queue_create, gid, 28, 4);
FIELD(evq_queue_create, name, 32, 32);

SIZE(evq_queue_destroy, 40);
FIELD(evq_queue_destroy, name, 0, 32);
FIELD(evq_queue_destroy, flags, 32, 4);
FIELD(evq_queue_destroy, reserved, 36, 4);

SIZE(evq_queue_handle, 16);
FIELD(evq_queue_handle, rights, 0, 4);
FIELD(evq_queue_handle, flags, 4, 4);
FIELD(evq_queue_handle, out_fd, 8, 4);
FIELD(evq_queue_handle, reserved, 12, 4);

SIZE(evq_queue_settings, 72);
FIELD(evq_queue_settings, capacity, 0, 4);
FIELD(evq_queue_settings, max_payload, 4, 4);
FIELD(evq_queue_settings, mode, 8, 4);
FIELD(evq_queue_settings, low_mark, 12, 4);
FIELD(evq_queue_settings, kernel_reserve, 16, 4);
FIELD(evq_queue_settings, open_level, 20, 4);
FIELD(evq_queue_settings, user_share, 24, 4);
FIELD(evq_queue_settings, reserved, 28, 4);
FIELD(evq_queue_settings, history_events, 32, 8);
FIELD(evq_queue_settings, history_bytes, 40, 8);
FIELD(evq_queue_settings, ack_timeout_ns, 48, 8);
FIELD(evq_queue_settings, gate_max_ns, 56, 8);
FIELD(evq_queue_settings, max_pinned, 64, 8);

SIZE(evq_queue_set, 80);
FIELD(evq_queue_set, set, 0, 4);
FIELD(evq_queue_set, flags, 4, 4);
FIELD(evq_queue_set, to, 8, 72);

SIZE(evq_queue_control, 16);
FIELD(evq_queue_control, op, 0, 4);
FIELD(evq_queue_control, flags, 4, 4);
FIELD(evq_queue_control, deadline_ns, 8, 8);

SIZE(evq_queue_info, 176);
FIELD(evq_queue_info, state, 0, 4);
FIELD(evq_queue_info, rights, 4, 4);
FIELD(evq_queue_info, nr_lanes, 8, 4);
FIELD(evq_queue_info, nr_subscriptions, 12, 4);
FIELD(evq_queue_info, nr_blocked, 16, 4);
FIELD(evq_queue_info, reserved, 20, 4);
FIELD(evq_queue_info, settings, 24, 72);
FIELD(evq_queue_info, next_seq, 96, 8);
FIELD(evq_queue_info, accepted, 104, 8);
FIELD(evq_queue_info, waiting, 112, 8);
FIELD(evq_queue_info, dispatched, 120, 8);
FIELD(evq_queue_info, evicted, 128, 8);
FIELD(evq_queue_info, aborted, 136, 8);
FIELD(evq_queue_info, retained, 144, 8);
FIELD(evq_queue_info, retained_bytes, 152, 8);
FIELD(evq_queue_info, pinned, 160, 8);
FIELD(evq_queue_info, refused, 168, 8);

SIZE(evq_lane_info, 80);
FIELD(evq_lane_info, lane, 0, 4);
FIELD(evq_lane_info, state, 4, 4);
FIELD(evq_lane_info, nr_blocked, 8, 4);
FIELD(evq_lane_info, pid, 12, 4);
FIELD(evq_lane_info, next_seq, 16, 8);
FIELD(evq_lane_info, accepted, 24, 8);
FIELD(evq_lane_info, waiting, 32, 8);
FIELD(evq_lane_info, dispatched, 40, 8);
FIELD(evq_lane_info, evicted, 48, 8);
FIELD(evq_lane_info, aborted, 56, 8);
FIELD(evq_lane_info, retained, 64, 8);
FIELD(evq_lane_info, retained_bytes, 72, 8);

SIZE(evq_event_desc, 64);
FIELD(evq_event_desc, id, 0, 8);
FIELD(evq_event_desc, key, 8, 8);
FIELD(evq_event_desc, data_ptr, 16, 8);
FIELD(evq_event_desc, data_len, 24, 4);
FIELD(evq_event_desc, type, 28, 4);
FIELD(evq_event_desc, priority, 32, 4);
FIELD(evq_event_desc, flags, 36, 4);
FIELD(evq_event_desc, cookie, 40, 8);
FIELD(evq_event_desc, seq, 48, 8);
FIELD(evq_event_desc, lane, 56, 4);
FIELD(evq_event_desc, reserved, 60, 4);

SIZE(evq_submit, 40);
FIELD(evq_submit, events_ptr, 0, 8);
FIELD(evq_submit, nr_events, 8, 4);
FIELD(evq_submit, event_size, 12, 4);
FIELD(evq_submit, deadline_ns, 16, 8);
FIELD(evq_submit, flags, 24, 4);
FIELD(evq_submit, nr_taken, 28, 4);
FIELD(evq_submit, receipts_fd, 32, 4);
FIELD(evq_submit, reserved, 36, 4);

SIZE(evq_uring_command, 16);
FIELD(evq_uring_command, arg_ptr, 0, 8);
FIELD(evq_uring_command, reserved, 8, 8);

SIZE(evq_event_state, 48);
FIELD(evq_event_state, id, 0, 8);
FIELD(evq_event_state, flags, 8, 4);
FIELD(evq_event_state, nr_events, 12, 4);
FIELD(evq_event_state, seq, 16, 8);
FIELD(evq_event_state, lane, 24, 4);
FIELD(evq_event_state, status, 28, 4);
FIELD(evq_event_state, callbacks, 32, 4);
FIELD(evq_event_state, completed, 36, 4);
FIELD(evq_event_state, failed, 40, 4);
FIELD(evq_event_state, reserved, 44, 4);

SIZE(evq_forget, 24);
FIELD(evq_forget, id, 0, 8);
FIELD(evq_forget, flags, 8, 4);
FIELD(evq_forget, reserved, 12, 4);
FIELD(evq_forget, nr_forgotten, 16, 8);

SIZE(evq_receipts_create, 16);
FIELD(evq_receipts_create, capacity, 0, 4);
FIELD(evq_receipts_create, flags, 4, 4);
FIELD(evq_receipts_create, out_fd, 8, 4);
FIELD(evq_receipts_create, reserved, 12, 4);

SIZE(evq_receipt, 64);
FIELD(evq_receipt, cookie, 0, 8);
FIELD(evq_receipt, seq, 8, 8);
FIELD(evq_receipt, id, 16, 8);
FIELD(evq_receipt, lane, 24, 4);
FIELD(evq_receipt, status, 28, 4);
FIELD(evq_receipt, callbacks, 32, 4);
FIELD(evq_receipt, completed, 36, 4);
FIELD(evq_receipt, failed, 40, 4);
FIELD(evq_receipt, flags, 44, 4);
FIELD(evq_receipt, subscription, 48, 8);
FIELD(evq_receipt, registration, 56, 4);
FIELD(evq_receipt, pid, 60, 4);

SIZE(evq_receipt_wait, 88);
FIELD(evq_receipt_wait, seq, 0, 8);
FIELD(evq_receipt_wait, deadline_ns, 8, 8);
FIELD(evq_receipt_wait, lane, 16, 4);
FIELD(evq_receipt_wait, flags, 20, 4);
FIELD(evq_receipt_wait, receipt, 24, 64);

SIZE(evq_receipts_info, 32);
FIELD(evq_receipts_info, capacity, 0, 4);
FIELD(evq_receipts_info, reserved, 4, 4);
FIELD(evq_receipts_info, outstanding, 8, 8);
FIELD(evq_receipts_info, ready, 16, 8);
FIELD(evq_receipts_info, read, 24, 8);

SIZE(evq_subscribe, 56);
FIELD(evq_subscribe, policy, 0, 4);
FIELD(evq_subscribe, flags, 4, 4);
FIELD(evq_subscribe, max_records, 8, 4);
FIELD(evq_subscribe, max_bytes, 12, 4);
FIELD(evq_subscribe, out_fd, 16, 4);
FIELD(evq_subscribe, max_in_hand, 20, 4);
FIELD(evq_subscribe, max_attempts, 24, 4);
FIELD(evq_subscribe, wake_records, 28, 4);
FIELD(evq_subscribe, gate_ns, 32, 8);
FIELD(evq_subscribe, wake_interval_ns, 40, 8);
FIELD(evq_subscribe, subscription, 48, 8);

SIZE(evq_reader_create, 8);
FIELD(evq_reader_create, flags, 0, 4);
FIELD(evq_reader_create, out_fd, 4, 4);

SIZE(evq_ack, 16);
FIELD(evq_ack, delivery, 0, 8);
FIELD(evq_ack, status, 8, 4);
FIELD(evq_ack, flags, 12, 4);

SIZE(evq_ack_many, 24);
FIELD(evq_ack_many, acks_ptr, 0, 8);
FIELD(evq_ack_many, nr_acks, 8, 4);
FIELD(evq_ack_many, ack_size, 12, 4);
FIELD(evq_ack_many, flags, 16, 4);
FIELD(evq_ack_many, nr_taken, 20, 4);

SIZE(evq_ring_create, 40);
FIELD(evq_ring_create, size, 0, 4);
FIELD(evq_ring_create, flags, 4, 4);
FIELD(evq_ring_create, kernel_offset, 8, 8);
FIELD(evq_ring_create, program_offset, 16, 8);
FIELD(evq_ring_create, kernel_size, 24, 4);
FIELD(evq_ring_create, program_size, 28, 4);
FIELD(evq_ring_create, data_offset, 32, 4);
FIELD(evq_ring_create, reserved, 36, 4);

SIZE(evq_ring_kick, 8);
FIELD(evq_ring_kick, flags, 0, 4);
FIELD(evq_ring_kick, reserved, 4, 4);

SIZE(evq_ring_kernel, 16);
FIELD(evq_ring_kernel, tail, 0, 4);
FIELD(evq_ring_kernel, behind, 4, 4);
FIELD(evq_ring_kernel, state, 8, 4);
FIELD(evq_ring_kernel, reserved, 12, 4);

SIZE(evq_ring_program, 8);
FIELD(evq_ring_program, head, 0, 4);
FIELD(evq_ring_program, armed, 4, 4);

SIZE(evq_submit_ring_create, 64);
FIELD(evq_submit_ring_create, nr_entries, 0, 4);
FIELD(evq_submit_ring_create, max_payload, 4, 4);
FIELD(evq_submit_ring_create, event_size, 8, 4);
FIELD(evq_submit_ring_create, flags, 12, 4);
FIELD(evq_submit_ring_create, receipts_fd, 16, 4);
FIELD(evq_submit_ring_create, out_fd, 20, 4);
FIELD(evq_submit_ring_create, kernel_offset, 24, 8);
FIELD(evq_submit_ring_create, program_offset, 32, 8);
FIELD(evq_submit_ring_create, kernel_size, 40, 4);
FIELD(evq_submit_ring_create, program_size, 44, 4);
FIELD(evq_submit_ring_create, results_offset, 48, 4);
FIELD(evq_submit_ring_create, entries_offset, 52, 4);
FIELD(evq_submit_ring_create, entry_size, 56, 4);
FIELD(evq_submit_ring_create, reserved, 60, 4);

SIZE(evq_submit_ring_kernel, 16);
FIELD(evq_submit_ring_kernel, head, 0, 4);
FIELD(evq_submit_ring_kernel, asleep, 4, 4);
FIELD(evq_submit_ring_kernel, state, 8, 4);
FIELD(evq_submit_ring_kernel, reserved, 12, 4);

SIZE(evq_submit_ring_program, 8);
FIELD(evq_submit_ring_program, tail, 0, 4);
FIELD(evq_submit_ring_program, armed, 4, 4);

SIZE(evq_submit_result, 16);
FIELD(evq_submit_result, seq, 0, 8);
FIELD(evq_submit_result, lane, 8, 4);
FIELD(evq_submit_result, error, 12, 4);

SIZE(evq_submit_ring_kick, 16);
FIELD(evq_submit_ring_kick, flags, 0, 4);
FIELD(evq_submit_ring_kick, position, 4, 4);
FIELD(evq_submit_ring_kick, deadline_ns, 8, 8);

SIZE(evq_register, 72);
FIELD(evq_register, match, 0, 4);
FIELD(evq_register, order, 4, 4);
FIELD(evq_register, id, 8, 8);
FIELD(evq_register, key, 16, 8);
FIELD(evq_register, type, 24, 4);
FIELD(evq_register, priority_min, 28, 4);
FIELD(evq_register, priority_max, 32, 4);
FIELD(evq_register, flags, 36, 4);
FIELD(evq_register, cookie, 40, 8);
FIELD(evq_register, registration, 48, 4);
FIELD(evq_register, nr_first_seqs, 52, 4);
FIELD(evq_register, first_seq, 56, 8);
FIELD(evq_register, first_seqs_ptr, 64, 8);

SIZE(evq_unregister, 8);
FIELD(evq_unregister, registration, 0, 4);
FIELD(evq_unregister, flags, 4, 4);

SIZE(evq_subscription_info, 208);
FIELD(evq_subscription_info, policy, 0, 4);
FIELD(evq_subscription_info, flags, 4, 4);
FIELD(evq_subscription_info, max_records, 8, 4);
FIELD(evq_subscription_info, max_bytes, 12, 4);
FIELD(evq_subscription_info, max_in_hand, 16, 4);
FIELD(evq_subscription_info, max_attempts, 20, 4);
FIELD(evq_subscription_info, wake_records, 24, 4);
FIELD(evq_subscription_info, nr_registrations, 28, 4);
FIELD(evq_subscription_info, nr_readers, 32, 4);
FIELD(evq_subscription_info, disconnected, 36, 4);
FIELD(evq_subscription_info, gate_ns, 40, 8);
FIELD(evq_subscription_info, wake_interval_ns, 48, 8);
FIELD(evq_subscription_info, subscription, 56, 8);
FIELD(evq_subscription_info, bytes, 64, 8);
FIELD(evq_subscription_info, redelivered, 72, 8);
FIELD(evq_subscription_info, matched, 80, 8);
FIELD(evq_subscription_info, delivered, 88, 8);
FIELD(evq_subscription_info, queued, 96, 8);
FIELD(evq_subscription_info, in_hand, 104, 8);
FIELD(evq_subscription_info, lost, 112, 96);

SIZE(evq_record, 8);
FIELD(evq_record, size, 0, 4);
FIELD(evq_record, kind, 4, 2);
FIELD(evq_record, flags, 6, 2);

SIZE(evq_event_record, 96);
FIELD(evq_event_record, head, 0, 8);
FIELD(evq_event_record, cookie, 8, 8);
FIELD(evq_event_record, seq, 16, 8);
FIELD(evq_event_record, id, 24, 8);
FIELD(evq_event_record, key, 32, 8);
FIELD(evq_event_record, time_ns, 40, 8);
FIELD(evq_event_record, type, 48, 4);
FIELD(evq_event_record, lane, 52, 4);
FIELD(evq_event_record, registration, 56, 4);
FIELD(evq_event_record, priority, 60, 4);
FIELD(evq_event_record, pid, 64, 4);
FIELD(evq_event_record, uid, 68, 4);
FIELD(evq_event_record, gid, 72, 4);
FIELD(evq_event_record, data_off, 76, 4);
FIELD(evq_event_record, data_len, 80, 4);
FIELD(evq_event_record, attempt, 84, 4);
FIELD(evq_event_record, delivery, 88, 8);

SIZE(evq_gap_record, 128);
FIELD(evq_gap_record, head, 0, 8);
FIELD(evq_gap_record, first_seq, 8, 8);
FIELD(evq_gap_record, last_seq, 16, 8);
FIELD(evq_gap_record, scope, 24, 4);
FIELD(evq_gap_record, lane, 28, 4);
FIELD(evq_gap_record, lost, 32, 96);

/* direction in bits 30-31, size in 16-29, magic in 8-15, number in 0-7 */
static_assert(EVQ_IOC_FEATURES == 0x8048e700, "FEATURES");
static_assert(EVQ_IOC_QUEUE_CREATE == 0xc040e710, "QUEUE_CREATE");
static_assert(EVQ_IOC_QUEUE_HANDLE == 0xc010e711, "QUEUE_HANDLE");
static_assert(EVQ_IOC_QUEUE_INFO == 0x80b0e712, "QUEUE_INFO");
static_assert(EVQ_IOC_QUEUE_SET == 0x4050e713, "QUEUE_SET");
static_assert(EVQ_IOC_QUEUE_CONTROL == 0x4010e714, "QUEUE_CONTROL");
static_assert(EVQ_IOC_SUBMIT == 0xc028e715, "SUBMIT");
static_assert(EVQ_IOC_SUBSCRIBE == 0xc038e716, "SUBSCRIBE");
static_assert(EVQ_IOC_QUEUE_DESTROY == 0x4028e717, "QUEUE_DESTROY");
static_assert(EVQ_IOC_LANE_INFO == 0xc050e718, "LANE_INFO");
static_assert(EVQ_IOC_EVENT_STATE == 0xc030e719, "EVENT_STATE");
static_assert(EVQ_IOC_FORGET == 0xc018e71a, "FORGET");
static_assert(EVQ_IOC_RECEIPTS == 0xc010e71b, "RECEIPTS");
static_assert(EVQ_IOC_SUBMIT_RING == 0xc040e71c, "SUBMIT_RING");
static_assert(EVQ_IOC_REGISTER == 0xc048e720, "REGISTER");
static_assert(EVQ_IOC_UNREGISTER == 0x4008e721, "UNREGISTER");
static_assert(EVQ_IOC_SUBSCRIPTION_INFO == 0x80d0e722, "SUBSCRIPTION_INFO");
static_assert(EVQ_IOC_READER == 0xc008e723, "READER");
static_assert(EVQ_IOC_ACK == 0xc018e724, "ACK");
static_assert(EVQ_IOC_RING == 0xc028e725, "RING");
static_assert(EVQ_IOC_RING_KICK == 0x4008e726, "RING_KICK");
static_assert(EVQ_IOC_RECEIPT_WAIT == 0xc058e730, "RECEIPT_WAIT");
static_assert(EVQ_IOC_RECEIPTS_INFO == 0x8020e731, "RECEIPTS_INFO");
static_assert(EVQ_IOC_SUBMIT_RING_KICK == 0x4010e740, "SUBMIT_RING_KICK");
static_assert(EVQ_URING_SUBMIT == 0x4028e750, "URING_SUBMIT");

#define VALUE(name, value) static_assert((name) == (value), #name)

VALUE(EVQ_LEVELS, 64);
VALUE(EVQ_CAPACITY_DEFAULT, 1024);
VALUE(EVQ_CAPACITY_MAX, 1048576);
VALUE(EVQ_PAYLOAD_DEFAULT, 4096);
VALUE(EVQ_PAYLOAD_MAX, 1048576);
VALUE(EVQ_LANES_MAX, 64);
VALUE(EVQ_NAME_SIZE, 32);
VALUE(EVQ_HISTORY_MAX, 1048576);
VALUE(EVQ_SUBMIT_MAX, 1024);
VALUE(EVQ_ACK_MAX, 1024);
VALUE(EVQ_RING_DEFAULT, 65536);
VALUE(EVQ_RING_MAX, 16777216);
VALUE(EVQ_RING_ENDED, 1);
VALUE(EVQ_RING_DISCONNECTED, 2);
VALUE(EVQ_SUBMIT_RING_DEFAULT, 256);
VALUE(EVQ_SUBMIT_RING_MAX, 65536);
VALUE(EVQ_SUBMIT_RING_BROKEN, 1);
VALUE(EVQ_SUBMIT_RING_WAIT, 1);
VALUE(EVQ_RECEIPTS_DEFAULT, 1024);
VALUE(EVQ_RECEIPTS_MAX, 65536);
VALUE(EVQ_ATTEMPTS_DEFAULT, 5);
VALUE(EVQ_ATTEMPTS_MAX, 65535);
VALUE(EVQ_WAKE_INTERVAL_MAX, 1000000000);
VALUE(EVQ_STATUS_MAX, 4095);
VALUE(EVQ_RECORDS_DEFAULT, 1024);
VALUE(EVQ_RECORDS_MAX, 65536);
VALUE(EVQ_BYTES_DEFAULT, 4194304);
VALUE(EVQ_BYTES_MAX, 268435456);
VALUE(EVQ_RIGHT_SUBMIT, 1);
VALUE(EVQ_RIGHT_SUBSCRIBE, 2);
VALUE(EVQ_RIGHT_CONTROL, 4);
VALUE(EVQ_STATE_RUNNING, 0);
VALUE(EVQ_STATE_PAUSED, 1);
VALUE(EVQ_STATE_STOPPING, 2);
VALUE(EVQ_STATE_STOPPED, 3);
VALUE(EVQ_LOST_OVERFLOW, 0);
VALUE(EVQ_LOST_NOMEM, 1);
VALUE(EVQ_LOST_UNREGISTERED, 2);
VALUE(EVQ_LOST_ABORTED, 3);
VALUE(EVQ_LOST_EVICTED, 4);
VALUE(EVQ_LOST_COALESCED, 5);
VALUE(EVQ_LOST_DISCONNECTED, 6);
VALUE(EVQ_LOST_PINNED, 7);
VALUE(EVQ_LOST_POISON, 8);
VALUE(EVQ_LOST_CHAIN, 9);
VALUE(EVQ_LOST_HISTORY, 10);
VALUE(EVQ_LOST_SLOTS, 12);
VALUE(EVQ_QUEUE_PAUSED, 1);
VALUE(EVQ_SET_CAPACITY, 1);
VALUE(EVQ_SET_MAX_PAYLOAD, 2);
VALUE(EVQ_SET_MODE, 4);
VALUE(EVQ_SET_LOW_MARK, 8);
VALUE(EVQ_SET_KERNEL_RESERVE, 16);
VALUE(EVQ_SET_OPEN_LEVEL, 32);
VALUE(EVQ_SET_USER_SHARE, 64);
VALUE(EVQ_SET_HISTORY, 128);
VALUE(EVQ_SET_ACK_TIMEOUT, 256);
VALUE(EVQ_SET_GATE_MAX, 512);
VALUE(EVQ_SET_MAX_PINNED, 1024);
VALUE(EVQ_SET_HISTORY_BYTES, 2048);
VALUE(EVQ_MODE_EVICT, 1);
VALUE(EVQ_MODE_SEQUENTIAL, 2);
VALUE(EVQ_MODE_NO_DIRECT, 4);
VALUE(EVQ_CONTROL_START, 1);
VALUE(EVQ_CONTROL_PAUSE, 2);
VALUE(EVQ_CONTROL_DRAIN, 3);
VALUE(EVQ_CONTROL_ABORT, 4);
VALUE(EVQ_EVENT_UNIQUE, 1);
VALUE(EVQ_EVENT_TRACKED, 2);
VALUE(EVQ_SUBMIT_NONBLOCK, 1);
VALUE(EVQ_SUBMIT_RESULTS, 2);
VALUE(EVQ_SUBMIT_RECEIPTS, 4);
VALUE(EVQ_EVENT_PENDING, 1);
VALUE(EVQ_EVENT_DISPATCHED, 2);
VALUE(EVQ_EVENT_COMPLETE, 3);
VALUE(EVQ_FORGET_ALL, 1);
VALUE(EVQ_RECEIPT_STOPPED, 1);
VALUE(EVQ_POLICY_DROP_OLDEST, 0);
VALUE(EVQ_POLICY_DROP_NEWEST, 1);
VALUE(EVQ_POLICY_COALESCE, 2);
VALUE(EVQ_POLICY_DISCONNECT, 3);
VALUE(EVQ_POLICY_GATE, 4);
VALUE(EVQ_SUBSCRIBE_ACK, 1);
VALUE(EVQ_SUBSCRIBE_KEY_EXCLUSIVE, 2);
VALUE(EVQ_ACK_STOP, 1);
VALUE(EVQ_MATCH_ID, 1);
VALUE(EVQ_MATCH_TYPE, 2);
VALUE(EVQ_MATCH_KEY, 4);
VALUE(EVQ_MATCH_PRIORITY, 8);
VALUE(EVQ_REGISTER_REPLAY, 1);
VALUE(EVQ_RECORD_EVENT, 1);
VALUE(EVQ_RECORD_GAP, 2);
VALUE(EVQ_RECORD_REPLAYED, 1);
VALUE(EVQ_RECORD_REDELIVERED, 2);
VALUE(EVQ_SCOPE_SUBSCRIPTION, 0);
VALUE(EVQ_SCOPE_QUEUE, 1);
VALUE(EVQ_LANE_MIXED, 0xffffffff);

TEST(word_size)
{
	/* The program that claims to be 32-bit is. */
	const char *name = program_invocation_name;
	bool is_32 = strlen(name) > 3 &&
		     !strcmp(name + strlen(name) - 3, "_32");

	if (is_32)
		EXPECT_EQ(4, sizeof(long));
}

TEST(features)
{
	struct evq_features f;
	int device = device_open(O_RDWR);
	int queue = queue_paused(1);
	int sub = subscribe_all(queue);
	int fds[] = { device, queue, sub };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		memset(&f, POISON, sizeof(f));
		ASSERT_EQ(0, call(fds[i], EVQ_IOC_FEATURES, &f));
		EXPECT_LE(EVQ_ABI_VERSION, f.abi_version);
		EXPECT_LT(EVQ_LOST_EVICTED, f.nr_causes);
		EXPECT_GE(EVQ_LOST_SLOTS, f.nr_causes);
		EXPECT_EQ(0, f.features);
		EXPECT_LE(1, f.max_queues);
		EXPECT_LE(1, f.max_subscriptions);
		EXPECT_LE(1, f.max_registrations);
		EXPECT_EQ(EVQ_SUBMIT_MAX, f.submit_max);
		EXPECT_EQ(EVQ_CAPACITY_MAX, f.capacity_max);
		EXPECT_EQ(EVQ_PAYLOAD_MAX, f.payload_max);
		EXPECT_EQ(EVQ_RECORDS_MAX, f.records_max);
		EXPECT_EQ(EVQ_BYTES_MAX, f.bytes_max);
	}
}

TEST(defaults)
{
	int queue = queue_create(0, 0, 0);
	struct evq_queue_info qi = queue_info(queue);
	int sub = subscribe(queue, EVQ_POLICY_DROP_OLDEST, 0, 0);
	struct evq_subscription_info si = subscription_info(sub);

	EXPECT_EQ(EVQ_STATE_RUNNING, qi.state);
	EXPECT_EQ(RIGHTS_ALL, qi.rights);
	EXPECT_EQ(EVQ_CAPACITY_DEFAULT, qi.settings.capacity);
	EXPECT_EQ(EVQ_PAYLOAD_DEFAULT, qi.settings.max_payload);
	EXPECT_EQ(0, qi.nr_subscriptions);
	EXPECT_EQ(0, qi.nr_blocked);
	EXPECT_EQ(1, qi.next_seq);
	EXPECT_EQ(0, qi.accepted);

	EXPECT_EQ(EVQ_POLICY_DROP_OLDEST, si.policy);
	EXPECT_EQ(0, si.nr_registrations);
	EXPECT_EQ(EVQ_RECORDS_DEFAULT, si.max_records);
	EXPECT_EQ(EVQ_BYTES_DEFAULT, si.max_bytes);
	EXPECT_EQ(0, si.bytes);
	EXPECT_EQ(0, si.matched);
}

/* Values that show whether a field landed where it should, and all of it. */
#define ID 0x1112131415161718ULL
#define KEY 0x2122232425262728ULL
#define COOKIE 0x3132333435363738ULL
#define TYPE 0x41424344U
#define PRIORITY 42U

static void check_round_trip(int queue, int sub, __u32 registration)
{
	char data[13];
	struct evq_event_desc desc[2];
	struct evq_submit s;
	const struct evq_event_record *e;
	struct evq_subscription_info si;
	struct evq_queue_info qi;
	struct reader r;
	__u64 start = now_ns();

	payload_fill(data, sizeof(data), ID);
	memset(desc, 0, sizeof(desc));
	for (size_t i = 0; i < ARRAY_SIZE(desc); i++) {
		desc[i].id = ID;
		desc[i].key = KEY;
		desc[i].data_ptr = (uintptr_t)data;
		desc[i].data_len = sizeof(data);
		desc[i].type = TYPE;
		desc[i].priority = PRIORITY;
		desc[i].seq = ~0ULL;
		desc[i].lane = ~0U;
	}
	s = (struct evq_submit){
		.events_ptr = (uintptr_t)desc,
		.nr_events = ARRAY_SIZE(desc),
		.event_size = sizeof(desc[0]),
		.deadline_ns = ~0ULL,
		.flags = EVQ_SUBMIT_RESULTS | EVQ_SUBMIT_NONBLOCK,
		.nr_taken = ~0U,
	};
	CHECK_EQ(0, call(queue, EVQ_IOC_SUBMIT, &s));
	CHECK_EQ(2, s.nr_taken);
	CHECK_EQ(1, desc[0].seq);
	CHECK_EQ(2, desc[1].seq);
	CHECK_EQ(0, desc[0].lane);
	CHECK_EQ(0, desc[1].lane);
	/* What was only read is as it was. */
	CHECK_EQ(ID, desc[0].id);
	CHECK_EQ(TYPE, desc[0].type);
	CHECK_EQ(ARRAY_SIZE(desc), s.nr_events);
	CHECK_EQ(EVQ_SUBMIT_RESULTS | EVQ_SUBMIT_NONBLOCK, s.flags);

	qi = queue_info(queue);
	CHECK_EQ(EVQ_STATE_PAUSED, qi.state);
	CHECK_EQ(3, qi.next_seq);
	CHECK_EQ(2, qi.waiting);
	CHECK_EQ(1, qi.nr_subscriptions);
	CHECK_EQ(0, queue_control(queue, EVQ_CONTROL_START));
	queue_settle(queue);

	si = subscription_info(sub);
	CHECK_EQ(2, si.matched);
	CHECK_EQ(2, si.queued);
	CHECK_EQ(2 * sizeof(data), si.bytes);

	reader_init(&r, sub);
	for (__u64 seq = 1; seq <= 2; seq++) {
		e = reader_event(&r);
		CHECK_EQ(COOKIE, e->cookie);
		CHECK_EQ(seq, e->seq);
		CHECK_EQ(ID, e->id);
		CHECK_EQ(KEY, e->key);
		CHECK(e->time_ns >= start && e->time_ns <= now_ns());
		CHECK_EQ(TYPE, e->type);
		CHECK_EQ(registration, e->registration);
		CHECK_EQ(PRIORITY, e->priority);
		CHECK_EQ(getpid(), e->pid);
		CHECK_EQ(geteuid(), e->uid);
		CHECK_EQ(getegid(), e->gid);
		CHECK_EQ(sizeof(data), e->data_len);
		CHECK_EQ(sizeof(*e) + 16, e->head.size);
		CHECK(payload_is(record_data(e), sizeof(data), ID));
	}
	reader_empty(&r);
	reader_settle(&r);
	reader_free(&r);
}

TEST(every_command)
{
	int device = device_open(O_RDWR);
	struct evq_queue_create create = {
		.capacity = 10,
		.max_payload = 100,
		.flags = EVQ_QUEUE_PAUSED,
		.out_fd = -2,
	};
	struct evq_queue_handle handle = {
		.rights = EVQ_RIGHT_SUBMIT,
		.out_fd = -2,
	};
	struct evq_queue_set set = {
		.set = EVQ_SET_CAPACITY | EVQ_SET_MAX_PAYLOAD,
		.to = { .capacity = 20, .max_payload = 200 },
	};
	struct evq_subscribe sub = {
		.policy = EVQ_POLICY_DROP_NEWEST,
		.max_records = 30,
		.max_bytes = 300,
		.out_fd = -2,
	};
	struct evq_register reg = {
		.match = EVQ_MATCH_ID | EVQ_MATCH_TYPE | EVQ_MATCH_KEY |
			 EVQ_MATCH_PRIORITY,
		.order = -1,
		.id = ID,
		.key = KEY,
		.type = TYPE,
		.priority_min = PRIORITY - 1,
		.priority_max = PRIORITY + 1,
		.cookie = COOKIE,
		.registration = ~0U,
		.first_seq = ~0ULL,
	};
	struct evq_subscription_info si;
	struct evq_queue_info qi;

	ASSERT_EQ(0, call(device, EVQ_IOC_QUEUE_CREATE, &create));
	ASSERT_LE(0, create.out_fd);
	EXPECT_EQ(10, create.capacity);
	qi = queue_info(create.out_fd);
	EXPECT_EQ(10, qi.settings.capacity);
	EXPECT_EQ(100, qi.settings.max_payload);

	ASSERT_EQ(0, call(create.out_fd, EVQ_IOC_QUEUE_SET, &set));
	qi = queue_info(create.out_fd);
	EXPECT_EQ(20, qi.settings.capacity);
	EXPECT_EQ(200, qi.settings.max_payload);

	ASSERT_EQ(0, call(create.out_fd, EVQ_IOC_QUEUE_HANDLE, &handle));
	ASSERT_LE(0, handle.out_fd);
	EXPECT_EQ(EVQ_RIGHT_SUBMIT, queue_info(handle.out_fd).rights);

	ASSERT_EQ(0, call(create.out_fd, EVQ_IOC_SUBSCRIBE, &sub));
	ASSERT_LE(0, sub.out_fd);
	si = subscription_info(sub.out_fd);
	EXPECT_EQ(EVQ_POLICY_DROP_NEWEST, si.policy);
	EXPECT_EQ(30, si.max_records);
	EXPECT_EQ(300, si.max_bytes);

	ASSERT_EQ(0, call(sub.out_fd, EVQ_IOC_REGISTER, &reg));
	EXPECT_NE(~0U, reg.registration);
	EXPECT_EQ(1, reg.first_seq);
	EXPECT_EQ(COOKIE, reg.cookie);
	EXPECT_EQ(1, subscription_info(sub.out_fd).nr_registrations);

	check_round_trip(create.out_fd, sub.out_fd, reg.registration);

	ASSERT_EQ(0, unregister(sub.out_fd, reg.registration));
	EXPECT_EQ(0, subscription_info(sub.out_fd).nr_registrations);
	ASSERT_EQ(0, queue_drain(create.out_fd, ~0ULL));
	EXPECT_EQ(EVQ_STATE_STOPPED, queue_info(create.out_fd).state);
}

TEST(gap_record)
{
	int queue = queue_running(8);
	int sub = subscribe(queue, EVQ_POLICY_DROP_NEWEST, 1, 0);
	char buf[1024] __attribute__((aligned(8)));
	const struct evq_gap_record *gap = (void *)(buf + 96);

	register_for(sub, .match = 0);
	submit_ids(queue, 1, 3);
	queue_settle(queue);
	memset(buf, POISON, sizeof(buf));
	ASSERT_EQ(96 + 128, read_records(sub, buf, sizeof(buf)));
	EXPECT_EQ(EVQ_RECORD_GAP, gap->head.kind);
	EXPECT_EQ(128, gap->head.size);
	EXPECT_EQ(2, gap->first_seq);
	EXPECT_EQ(3, gap->last_seq);
	EXPECT_EQ(EVQ_SCOPE_SUBSCRIPTION, gap->scope);
	EXPECT_EQ(2, gap->lost[EVQ_LOST_OVERFLOW]);
	/* Nothing is written beyond what read() says. */
	for (size_t i = 96 + 128; i < sizeof(buf); i++)
		ASSERT_EQ((char)POISON, buf[i]);
}

TEST_HARNESS_MAIN
