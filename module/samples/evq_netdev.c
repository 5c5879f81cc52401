// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq_netdev - a sample: what happens to network devices, as events
 *
 *     insmod evq_netdev.ko [queue=NAME] [pool=N]
 *     evq sub                                             # in another terminal
 *     ip link add d0 type dummy; ip link set d0 up; ip link del d0
 *
 * A notifier of the kernel's becomes events of a queue, which is the usual way for a driver to tell
 * programs something. Each event has
 *
 *     type      what happened, one of enum evq_netdev_type
 *     key       number of the device: its events keep their order, however many lanes there are
 *     priority  1 where a device comes or goes, otherwise 0
 *     payload   struct evq_netdev_event, in the byte order of the machine
 *
 * The devices that exist when the module is loaded are announced as if they came then.
 */
#include <linux/err.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/string.h>

#include "evq.h"

/*
 * Programs see these two, so they are made for them: the kernel's own numbers and structures change
 * as the kernel does.
 */

/**
 * enum evq_netdev_type - what happened
 * @EVQ_NETDEV_REGISTER: the device came
 * @EVQ_NETDEV_UP: it was set up
 * @EVQ_NETDEV_DOWN: it was set down
 * @EVQ_NETDEV_CHANGE: its carrier or its flags changed
 * @EVQ_NETDEV_RENAME: its name changed, to the one in the payload
 * @EVQ_NETDEV_MTU: its longest packet changed
 * @EVQ_NETDEV_UNREGISTER: the device goes
 */
enum evq_netdev_type {
	EVQ_NETDEV_REGISTER	= 1,
	EVQ_NETDEV_UP		= 2,
	EVQ_NETDEV_DOWN		= 3,
	EVQ_NETDEV_CHANGE	= 4,
	EVQ_NETDEV_RENAME	= 5,
	EVQ_NETDEV_MTU		= 6,
	EVQ_NETDEV_UNREGISTER	= 7,
};

/**
 * struct evq_netdev_event - the payload
 * @ifindex: number of the device
 * @flags: its IFF_* flags, as they are after that
 * @mtu: longest packet that it takes, bytes
 * @reserved: 0
 * @name: its name, filled up with zero bytes
 */
struct evq_netdev_event {
	u32	ifindex;
	u32	flags;
	u32	mtu;
	u32	reserved;
	char	name[IFNAMSIZ];
};

static char *queue;
module_param(queue, charp, 0444);
MODULE_PARM_DESC(queue, "Name of the queue; without it the default queue");

/*
 * So many events can be on their way to the queue. They are allocated here, once: an emission
 * allocates nothing, and so it cannot fail for want of memory.
 */
static unsigned int pool = 64;
module_param(pool, uint, 0444);
MODULE_PARM_DESC(pool, "Events allocated in advance");

static struct evq_producer *producer;
static bool leaving;

/* 0 for what is not published: questions ("may its name change?") and steps on the way. */
static u32 evq_netdev_type(unsigned long what)
{
	switch (what) {
	case NETDEV_REGISTER:
		return EVQ_NETDEV_REGISTER;
	case NETDEV_UP:
		return EVQ_NETDEV_UP;
	case NETDEV_DOWN:
		return EVQ_NETDEV_DOWN;
	case NETDEV_CHANGE:
		return EVQ_NETDEV_CHANGE;
	case NETDEV_CHANGENAME:
		return EVQ_NETDEV_RENAME;
	case NETDEV_CHANGEMTU:
		return EVQ_NETDEV_MTU;
	case NETDEV_UNREGISTER:
		return EVQ_NETDEV_UNREGISTER;
	default:
		return 0;
	}
}

/*
 * Called under the lock of all network configuration. To wait here until somebody has read an event
 * would stop the network; but evq_emit() waits for nothing, whatever becomes of the event.
 */
static int evq_netdev_notify(struct notifier_block *nb, unsigned long what, void *info)
{
	struct net_device *dev = netdev_notifier_info_to_dev(info);
	struct evq_netdev_event event = {
		.ifindex = dev->ifindex,
		.flags = dev_get_flags(dev),
		.mtu = READ_ONCE(dev->mtu),
	};
	struct evq_emission emission = {
		.key = dev->ifindex,
		.type = evq_netdev_type(what),
		.data = &event,
		.data_len = sizeof(event),
	};

	/*
	 * Numbers of devices mean something within a network namespace only; here it is the first.
	 */
	if (!emission.type || READ_ONCE(leaving) || !net_eq(dev_net(dev), &init_net))
		return NOTIFY_DONE;
	if (what == NETDEV_REGISTER || what == NETDEV_UNREGISTER)
		emission.priority = 1;
	strscpy_pad(event.name, netdev_name(dev), sizeof(event.name));
	/*
	 * The payload is copied, so it may be on the stack. An error means that the pool is empty;
	 * it is counted, and here nothing better can be done about it.
	 */
	evq_emit(producer, &emission);
	return NOTIFY_DONE;
}

static struct notifier_block evq_netdev_notifier = {
	.notifier_call = evq_netdev_notify,
};

static int __init evq_netdev_init(void)
{
	int ret;

	/*
	 * First what the callback uses, then the callback: it is called at once for the devices
	 * that there are.
	 */
	producer = evq_producer_create(queue, pool, sizeof(struct evq_netdev_event));
	if (IS_ERR(producer))
		return PTR_ERR(producer);
	ret = register_netdevice_notifier(&evq_netdev_notifier);
	if (ret)
		evq_producer_destroy(producer);
	return ret;
}

static void __exit evq_netdev_exit(void)
{
	/* To remove a notifier, the kernel tells it that all devices go. They stay. */
	WRITE_ONCE(leaving, true);
	unregister_netdevice_notifier(&evq_netdev_notifier);
	/* Nobody emits any more. What was emitted goes its way without us. */
	evq_producer_destroy(producer);
}

module_init(evq_netdev_init);
module_exit(evq_netdev_exit);

MODULE_DESCRIPTION("Sample of evq: network device events");
MODULE_LICENSE("GPL");
