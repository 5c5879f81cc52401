/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Submission ring fds: what a program maps, polls and kicks.
 */
#ifndef EVQ_SUBMIT_RING_FD_H
#define EVQ_SUBMIT_RING_FD_H

struct evq_submit_ring;
struct file;

struct file *evq_submit_ring_file(struct evq_submit_ring *ring);

#endif /* EVQ_SUBMIT_RING_FD_H */
