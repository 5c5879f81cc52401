// SPDX-License-Identifier: GPL-2.0-only
/*
 * Users and their shares. The oracle adds up what each has. The limits are the copy's own.
 */
#include <linux/capability.h>
#include <linux/cred.h>

#include "evq_kunit.h"
#include "user.h"

#define USER_MOST 4	/* the first is privileged */
#define USER_QUEUES 2
#define USER_TOTAL 1600
#define USER_CHARGES 200

/* What should be. */
struct user_model {
	struct evq_queue	*queues[USER_QUEUES];
	struct cred		*creds[USER_MOST];
	u64			used[USER_MOST][EVQ_NR_QUOTAS];
	u32			waiting[USER_MOST][USER_QUEUES];
	struct evq_share	*shares[USER_MOST][USER_QUEUES];
	unsigned int		references[USER_MOST][USER_QUEUES];
	u64			total;
	struct user_charge {
		unsigned int	user;
		unsigned int	queue;
		u32		bytes;
	}			charges[USER_CHARGES];
	unsigned int		nr_charges;
};

static void user_put_cred(void *cred)
{
	put_cred(cred);
}

static void user_check(struct kunit *test, struct user_model *m)
{
	unsigned int user, queue, quota;

	for (user = 0; user < USER_MOST; user++) {
		for (queue = 0; queue < USER_QUEUES; queue++) {
			struct evq_share *share = m->shares[user][queue];

			if (!share)
				continue;
			CHECK_EQ(test, m->references[user][queue], refcount_read(&share->refs));
			CHECK_EQ(test, m->waiting[user][queue], atomic_read(&share->waiting));
			for (quota = 0; quota < EVQ_NR_QUOTAS; quota++)
				CHECK_EQ(test, m->used[user][quota],
					 atomic64_read(&share->user->used[quota]));
		}
	}
}

/* A user turns to a queue, and finds what he has there. */
static struct evq_share *user_get_share(struct kunit *test, struct user_model *m,
					unsigned int user, unsigned int queue)
{
	const struct cred *old = override_creds(m->creds[user]);
	struct evq_share *share = evq_share_get_current(m->queues[queue]);

	revert_creds(old);
	CHECK(test, share);
	CHECK(test, !m->references[user][queue] || share == m->shares[user][queue]);
	m->shares[user][queue] = share;
	m->references[user][queue]++;
	return share;
}

static void user_put_share(struct user_model *m, unsigned int user, unsigned int queue)
{
	evq_share_put(m->shares[user][queue]);
	if (!--m->references[user][queue])
		m->shares[user][queue] = NULL;
}

static void user_do_charge(struct kunit *test, struct user_model *m)
{
	unsigned int user = evq_below(test, USER_MOST), queue = evq_below(test, USER_QUEUES);
	struct evq_share *share = user_get_share(test, m, user, queue);
	u32 bytes = evq_below(test, 200), most = m->queues[queue]->settings.user_share;
	bool fits, privileged = !user;
	const struct cred *old;
	int ret;

	fits = privileged ||
	       (m->used[user][EVQ_QUOTA_EVENTS] < evq_user_limits[EVQ_QUOTA_EVENTS] &&
		m->used[user][EVQ_QUOTA_BYTES] + bytes <= evq_user_limits[EVQ_QUOTA_BYTES] &&
		(!most || m->waiting[user][queue] < most));
	/* A sixteenth is kept for who is privileged. */
	fits &= m->total + bytes <= USER_TOTAL - (privileged ? 0 : USER_TOTAL / 16);
	old = override_creds(m->creds[user]);
	ret = evq_share_charge(share, bytes);
	revert_creds(old);
	CHECK_EQ(test, fits ? 0 : -EDQUOT, ret);
	if (ret || m->nr_charges == USER_CHARGES) {
		if (!ret)
			evq_share_uncharge(share, bytes);
		user_put_share(m, user, queue);
		return;
	}
	m->used[user][EVQ_QUOTA_EVENTS]++;
	m->used[user][EVQ_QUOTA_BYTES] += bytes;
	m->waiting[user][queue]++;
	m->total += bytes;
	m->charges[m->nr_charges++] = (struct user_charge){
		.user = user, .queue = queue, .bytes = bytes,
	};
}

static void user_do_uncharge(struct kunit *test, struct user_model *m)
{
	unsigned int n = evq_below(test, m->nr_charges);
	struct user_charge charge = m->charges[n];

	m->charges[n] = m->charges[--m->nr_charges];
	evq_share_uncharge(m->shares[charge.user][charge.queue], charge.bytes);
	m->used[charge.user][EVQ_QUOTA_EVENTS]--;
	m->used[charge.user][EVQ_QUOTA_BYTES] -= charge.bytes;
	m->waiting[charge.user][charge.queue]--;
	m->total -= charge.bytes;
	user_put_share(m, charge.user, charge.queue);
}

/* Something else that is counted, for a moment. */
static void user_do_other(struct kunit *test, struct user_model *m)
{
	unsigned int number = evq_below(test, USER_MOST);
	enum evq_quota quota = EVQ_QUOTA_QUEUES + evq_below(test, EVQ_NR_QUOTAS - EVQ_QUOTA_QUEUES);
	u64 first = evq_below(test, 8), more = evq_below(test, 8);
	u64 limit = evq_user_limits[quota];
	const struct cred *old = override_creds(m->creds[number]);
	struct evq_user *user = evq_user_get_current(), *again = evq_user_get_current();
	int ret, ret_more = -1;
	s64 used = 0;

	ret = user ? evq_user_charge(user, quota, first) : -ENOMEM;
	if (!ret) {
		ret_more = evq_user_charge(user, quota, more);
		used = atomic64_read(&user->used[quota]);
	}
	revert_creds(old);
	CHECK(test, user);
	CHECK(test, user == again);
	CHECK_EQ(test, number ? 1000 + number : 0, __kuid_val(user->uid));
	CHECK_EQ(test, !number || first <= limit ? 0 : -EDQUOT, ret);
	if (!ret) {
		CHECK_EQ(test, !number || first + more <= limit ? 0 : -EDQUOT, ret_more);
		CHECK_EQ(test, first + (ret_more ? 0 : more), used);
		evq_user_uncharge(user, quota, used);
	}
	CHECK_EQ(test, 0, atomic64_read(&user->used[quota]));
	evq_user_put(again);
	evq_user_put(user);
}

static void user_random(struct kunit *test)
{
	struct user_model *m = kunit_kzalloc(test, sizeof(*m), GFP_KERNEL);
	unsigned int i;

	CHECK(test, m);
	for (i = 0; i < USER_MOST; i++) {
		m->creds[i] = prepare_creds();
		CHECK(test, m->creds[i]);
		if (i) {
			m->creds[i]->euid = KUIDT_INIT(1000 + i);
			cap_clear(m->creds[i]->cap_effective);
		}
		CHECK_EQ(test, 0, kunit_add_action_or_reset(test, user_put_cred, m->creds[i]));
	}
	for (i = 0; i < USER_QUEUES; i++)
		m->queues[i] = evq_kunit_queue(test, 1);
	evq_total_bytes = USER_TOTAL;
	for (i = 0; i < EVQ_NR_QUOTAS; i++)
		evq_user_limits[i] = 10;
	evq_user_limits[EVQ_QUOTA_BYTES] = 900;
	for_each_step(test, 4000) {
		/* It fills and empties. */
		unsigned int fill = ((struct evq_kunit *)test->priv)->step / 200 % 2 ? 70 : 30;

		if (evq_chance(test, 3))
			m->queues[evq_below(test, USER_QUEUES)]->settings.user_share =
				evq_below(test, 8);
		if (evq_chance(test, 20))
			user_do_other(test, m);
		else if (evq_chance(test, fill))
			user_do_charge(test, m);
		else if (m->nr_charges)
			user_do_uncharge(test, m);
		user_check(test, m);
	}
	while (m->nr_charges)
		user_do_uncharge(test, m);
	evq_share_uncharge(NULL, 1);
	evq_share_put(NULL);
	evq_user_put(NULL);
	for (i = 0; i < USER_QUEUES; i++)
		evq_kunit_queue_done(test, m->queues[i]);
	evq_total_bytes = 1024UL << 20;
	for (i = 0; i < EVQ_NR_QUOTAS; i++)
		evq_user_limits[i] = 1UL << 16;
	evq_user_limits[EVQ_QUOTA_BYTES] = 256UL << 20;
}

static struct kunit_case user_cases[] = {
	KUNIT_CASE(user_random),
	{}
};

EVQ_KUNIT_SUITE(evq_user, user_cases);
