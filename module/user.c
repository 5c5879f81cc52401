// SPDX-License-Identifier: GPL-2.0-only
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/slab.h>
#include <linux/xarray.h>

#include "delay.h"
#include "queue.h"
#include "user.h"

/* Most that a user may have, by enum evq_quota; module parameters. */
unsigned long evq_user_limits[EVQ_NR_QUOTAS] = {
	[EVQ_QUOTA_EVENTS]		= 1UL << 16,
	[EVQ_QUOTA_BYTES]		= 256UL << 20,
	[EVQ_QUOTA_QUEUES]		= 256,
	[EVQ_QUOTA_SUBSCRIPTIONS]	= 16384,
	[EVQ_QUOTA_REGISTRATIONS]	= 1UL << 17,
	[EVQ_QUOTA_RECEIPTS]		= 1UL << 17,
	[EVQ_QUOTA_RING_BYTES]		= 64UL << 20,
};

/* Most payload bytes that may wait, all users and queues together; a module parameter. */
unsigned long evq_total_bytes = 1024UL << 20;

/* Of that, one part in so many is kept for those with CAP_SYS_RESOURCE. */
#define EVQ_RESERVE_PART 16

static atomic64_t evq_waiting_bytes = ATOMIC64_INIT(0);

/* struct evq_user by uid. Changed with its lock held, looked up under RCU. */
static DEFINE_XARRAY(evq_users);

static bool evq_privileged(void)
{
	/* Who has it not is not to be blamed for it: no audit. */
	return ns_capable_noaudit(&init_user_ns, CAP_SYS_RESOURCE);
}

static struct evq_user *evq_user_find(kuid_t uid)
{
	struct evq_user *user;

	rcu_read_lock();
	user = xa_load(&evq_users, __kuid_val(uid));
	if (user && !refcount_inc_not_zero(&user->refs))
		user = NULL;
	rcu_read_unlock();
	return user;
}

/**
 * evq_user_get_current() - who calls
 *
 * Context: process; may sleep.
 * Return: the user with a reference, or NULL if there is no memory.
 */
struct evq_user *evq_user_get_current(void)
{
	struct evq_user *user = evq_user_find(current_euid()), *old;

	if (user)
		return user;
	evq_delay_point();
	user = kzalloc(sizeof(*user), GFP_KERNEL_ACCOUNT);
	if (!user)
		return NULL;
	user->uid = current_euid();
	refcount_set(&user->refs, 1);

	/* With the lock held nobody in the table is without reference. */
	xa_lock(&evq_users);
	old = __xa_cmpxchg(&evq_users, __kuid_val(user->uid), NULL, user, GFP_KERNEL);
	if (old && !xa_is_err(old))
		refcount_inc(&old->refs);
	xa_unlock(&evq_users);
	if (!old)
		return user;
	kfree(user);
	return xa_is_err(old) ? NULL : old;
}

/**
 * evq_user_put() - drop a reference
 * @user: the user, or NULL
 *
 * Context: any; no lock is held.
 */
void evq_user_put(struct evq_user *user)
{
	bool gone;

	if (!user || refcount_dec_not_one(&user->refs))
		return;
	evq_delay_point_atomic();
	/* Who looks up under the lock finds nobody without reference. */
	xa_lock(&evq_users);
	gone = refcount_dec_and_test(&user->refs);
	if (gone)
		__xa_erase(&evq_users, __kuid_val(user->uid));
	xa_unlock(&evq_users);
	if (gone)
		kfree_rcu(user, rcu);
}

/**
 * evq_user_charge() - count something for a user
 * @user: the user, who calls
 * @quota: what
 * @amount: how much
 *
 * Context: process.
 * Return: 0, or -EDQUOT, and then nothing was counted.
 */
int evq_user_charge(struct evq_user *user, enum evq_quota quota, u64 amount)
{
	s64 used = atomic64_add_return(amount, &user->used[quota]);

	if (used <= (s64)READ_ONCE(evq_user_limits[quota]) || evq_privileged())
		return 0;
	atomic64_sub(amount, &user->used[quota]);
	return -EDQUOT;
}

/**
 * evq_user_uncharge() - undo evq_user_charge()
 * @user: the user
 * @quota: what
 * @amount: how much
 *
 * Context: any; locks may be held.
 */
void evq_user_uncharge(struct evq_user *user, enum evq_quota quota, u64 amount)
{
	atomic64_sub(amount, &user->used[quota]);
}

/**
 * evq_share_get_current() - the caller's share of a queue
 * @queue: the queue
 *
 * Context: process; may sleep.
 * Return: the share with a reference, or NULL if there is no memory.
 */
struct evq_share *evq_share_get_current(struct evq_queue *queue)
{
	struct evq_share *share, *old;
	unsigned long uid = __kuid_val(current_euid());

	rcu_read_lock();
	share = xa_load(&queue->shares, uid);
	if (share && !refcount_inc_not_zero(&share->refs))
		share = NULL;
	rcu_read_unlock();
	if (share)
		return share;

	share = kzalloc(sizeof(*share), GFP_KERNEL_ACCOUNT);
	if (!share)
		return NULL;
	share->user = evq_user_get_current();
	if (!share->user) {
		kfree(share);
		return NULL;
	}
	share->queue = queue;
	refcount_set(&share->refs, 1);

	evq_delay_point();
	xa_lock(&queue->shares);
	old = __xa_cmpxchg(&queue->shares, uid, NULL, share, GFP_KERNEL);
	if (old && !xa_is_err(old))
		refcount_inc(&old->refs);
	xa_unlock(&queue->shares);
	if (!old)
		return share;
	evq_user_put(share->user);
	kfree(share);
	return xa_is_err(old) ? NULL : old;
}

/**
 * evq_share_get() - take one more reference
 * @share: a share that the caller has a reference of
 */
void evq_share_get(struct evq_share *share)
{
	refcount_inc(&share->refs);
}

/**
 * evq_share_put() - drop a reference
 * @share: the share, or NULL
 *
 * Context: any; no lock is held.
 */
void evq_share_put(struct evq_share *share)
{
	struct xarray *shares;
	bool gone;

	if (!share || refcount_dec_not_one(&share->refs))
		return;
	evq_delay_point_atomic();
	shares = &share->queue->shares;
	xa_lock(shares);
	gone = refcount_dec_and_test(&share->refs);
	if (gone)
		__xa_erase(shares, __kuid_val(share->user->uid));
	xa_unlock(shares);
	if (gone) {
		evq_user_put(share->user);
		kfree_rcu(share, rcu);
	}
}

/**
 * evq_share_charge() - an event is to wait
 * @share: whose, the caller's
 * @bytes: length of its payload
 *
 * Context: process.
 * Return: 0, or -EDQUOT, and then nothing was counted.
 */
int evq_share_charge(struct evq_share *share, size_t bytes)
{
	u32 most = READ_ONCE(share->queue->settings.user_share);
	unsigned long total = READ_ONCE(evq_total_bytes);
	int ret;

	ret = evq_user_charge(share->user, EVQ_QUOTA_EVENTS, 1);
	if (ret)
		return ret;
	ret = evq_user_charge(share->user, EVQ_QUOTA_BYTES, bytes);
	if (ret)
		goto uncharge_event;
	ret = -EDQUOT;
	if ((u32)atomic_inc_return(&share->waiting) > (most ?: U32_MAX) && !evq_privileged())
		goto leave;
	if (atomic64_add_return(bytes, &evq_waiting_bytes) > total - total / EVQ_RESERVE_PART &&
	    (atomic64_read(&evq_waiting_bytes) > total || !evq_privileged()))
		goto give_back;
	return 0;

give_back:
	atomic64_sub(bytes, &evq_waiting_bytes);
leave:
	atomic_dec(&share->waiting);
	evq_user_uncharge(share->user, EVQ_QUOTA_BYTES, bytes);
uncharge_event:
	evq_user_uncharge(share->user, EVQ_QUOTA_EVENTS, 1);
	return ret;
}

/**
 * evq_share_uncharge() - an event waits no more
 * @share: whose; NULL: nobody's
 * @bytes: length of its payload
 *
 * Context: any; locks may be held.
 */
void evq_share_uncharge(struct evq_share *share, size_t bytes)
{
	if (!share)
		return;
	atomic64_sub(bytes, &evq_waiting_bytes);
	atomic_dec(&share->waiting);
	evq_user_uncharge(share->user, EVQ_QUOTA_BYTES, bytes);
	evq_user_uncharge(share->user, EVQ_QUOTA_EVENTS, 1);
}
