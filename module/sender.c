// SPDX-License-Identifier: GPL-2.0-only
#include <linux/cred.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/pid.h>

#include <linux/evq.h>

#include "event.h"
#include "identity.h"
#include "queue.h"
#include "receipts.h"
#include "sender.h"
#include "user.h"

/**
 * evq_sender_check() - whether an event can be what it is to be
 * @sender: the sender
 * @desc: the event
 *
 * Return: 0, -EINVAL, -EMSGSIZE, or -EACCES for a level that he may not use.
 */
int evq_sender_check(const struct evq_sender *sender, const struct evq_event_desc *desc)
{
	const struct evq_queue_settings *settings = &sender->share->queue->settings;

	if (desc->flags & ~(EVQ_EVENT_UNIQUE | EVQ_EVENT_TRACKED) || desc->reserved ||
	    desc->priority >= EVQ_LEVELS ||
	    (desc->flags & EVQ_EVENT_UNIQUE && !desc->id) ||
	    (desc->flags & EVQ_EVENT_TRACKED && !sender->receipts) ||
	    (!(desc->flags & EVQ_EVENT_TRACKED) && desc->cookie))
		return -EINVAL;
	if (desc->data_len > READ_ONCE(settings->max_payload))
		return -EMSGSIZE;
	if (desc->priority > READ_ONCE(settings->open_level) && !sender->control)
		return -EACCES;
	return 0;
}

/**
 * evq_sender_make() - make an event, and charge for it
 * @sender: the sender
 * @desc: the event, after evq_sender_check()
 * @gfp: how to allocate
 *
 * The caller fills in the payload, has it tracked if it is to be, and has it accepted by a lane,
 * or drops it.
 *
 * Context: process; as @gfp says.
 * Return: the event, -EDQUOT or -ENOMEM.
 */
struct evq_event *evq_sender_make(const struct evq_sender *sender,
				  const struct evq_event_desc *desc, gfp_t gfp)
{
	struct evq_queue *queue = sender->share->queue;
	struct evq_event *event;
	LIST_HEAD(garbage);
	int ret;

	ret = evq_share_charge(sender->share, desc->data_len);
	if (ret)
		return ERR_PTR(ret);
	event = evq_event_alloc(queue, desc->data_len, gfp);
	if (!event) {
		evq_share_uncharge(sender->share, desc->data_len);
		return ERR_PTR(-ENOMEM);
	}
	evq_share_get(sender->share);
	event->share = sender->share;
	event->uid = current_euid();
	event->gid = current_egid();
	event->pid = get_pid(sender->pid);
	event->id = desc->id;
	event->key = desc->key;
	event->type = desc->type;
	event->priority = desc->priority;
	event->unique = desc->flags & EVQ_EVENT_UNIQUE;
	event->counted = desc->id || desc->flags & EVQ_EVENT_TRACKED;
	if (desc->id) {
		event->identity = evq_identity_get(&queue->identities, desc->id, gfp);
		if (!event->identity) {
			evq_sender_drop(event, &garbage);
			evq_events_free(&garbage);
			return ERR_PTR(-ENOMEM);
		}
	}
	return event;
}

/**
 * evq_sender_track() - have an event give a receipt
 * @sender: the sender; has @receipts
 * @event: an event that he has made
 * @cookie: for the receipt
 * @gfp: how to allocate
 * @nonblock: do not wait for room
 * @deadline_ns: when to stop waiting; 0: never
 *
 * Context: as evq_receipt_reserve().
 * Return: 0, or as evq_receipt_reserve().
 */
int evq_sender_track(const struct evq_sender *sender, struct evq_event *event, u64 cookie,
		     gfp_t gfp, bool nonblock, u64 deadline_ns)
{
	struct evq_receipt_entry *receipt;

	receipt = evq_receipt_reserve(sender->receipts, cookie, gfp, nonblock, deadline_ns);
	if (IS_ERR(receipt))
		return PTR_ERR(receipt);
	event->callbacks.receipt = receipt;
	return 0;
}

/**
 * evq_sender_drop() - an event was not accepted
 * @event: the event, which is on no list
 * @garbage: where it goes; to be given to evq_events_free()
 */
void evq_sender_drop(struct evq_event *event, struct list_head *garbage)
{
	evq_share_uncharge(event->share, event->data_len);
	evq_event_put(event, garbage);
}
