/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Receipts fds: where the outcome of tracked events goes out to producers.
 */
#ifndef EVQ_RECEIPTS_FD_H
#define EVQ_RECEIPTS_FD_H

struct evq_queue;
struct evq_receipts;
struct file;

struct file *evq_receipts_file(struct evq_receipts *receipts);
struct evq_receipts *evq_receipts_of_file(struct file *file, const struct evq_queue *queue);

#endif /* EVQ_RECEIPTS_FD_H */
