// SPDX-License-Identifier: GPL-2.0-only
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/idr.h>
#include <linux/kdev_t.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "compat.h"
#include "delay.h"
#include "device.h"
#include "queue.h"
#include "queue_fd.h"

/* Most devices; others than named queues have none. */
#define EVQ_MINORS 65536

/**
 * struct evq_device - see device.h
 * @dev: in the class; its release frees all of it
 * @cdev: the node
 * @node: in evq_devices
 * @queue: the queue, with a handle
 * @mode: of the node
 * @uid: owner of the node
 * @gid: group of the node
 * @gone: destroyed; who comes to open it is late. Belongs to evq_devices_lock
 */
struct evq_device {
	struct device		dev;
	struct cdev		cdev;
	struct list_head	node;
	struct evq_queue	*queue;
	umode_t			mode;
	kuid_t			uid;
	kgid_t			gid;
	bool			gone;
};

static dev_t evq_first_dev;
static DEFINE_IDA(evq_minors);

/* Named queues, and whether they are gone. */
static DEFINE_MUTEX(evq_devices_lock);
static LIST_HEAD(evq_devices);

static struct evq_device *evq_device_of(struct device *dev)
{
	return container_of(dev, struct evq_device, dev);
}

static struct evq_queue *evq_queue_of(struct device *dev)
{
	return evq_device_of(dev)->queue;
}

/* A setting: a file to read and write. */
#define EVQ_SETTING(_name, _bit)							\
	static ssize_t _name##_show(struct device *dev, struct device_attribute *attr,	\
			    char *buf)							\
	{	\
	u64 value = READ_ONCE(evq_queue_of(dev)->settings._name);			\
											\
	return sysfs_emit(buf, "%llu\n", value);					\
	}	\
											\
	static ssize_t _name##_store(struct device *dev, struct device_attribute *attr,	\
			     const char *buf, size_t len)				\
	{	\
	struct evq_queue_settings to = {};						\
	u64 value;									\
	int ret = kstrtou64(buf, 0, &value);						\
											\
	if (ret)									\
		return ret;								\
	to._name = value;								\
	if (to._name != value)								\
		return -EINVAL;								\
	ret = evq_queue_set(evq_queue_of(dev), _bit, &to);				\
	return ret ?: len;								\
	}	\
	static DEVICE_ATTR_RW(_name)

EVQ_SETTING(capacity, EVQ_SET_CAPACITY);
EVQ_SETTING(max_payload, EVQ_SET_MAX_PAYLOAD);
EVQ_SETTING(mode, EVQ_SET_MODE);
EVQ_SETTING(low_mark, EVQ_SET_LOW_MARK);
EVQ_SETTING(kernel_reserve, EVQ_SET_KERNEL_RESERVE);
EVQ_SETTING(open_level, EVQ_SET_OPEN_LEVEL);
EVQ_SETTING(user_share, EVQ_SET_USER_SHARE);
EVQ_SETTING(ack_timeout_ns, EVQ_SET_ACK_TIMEOUT);
EVQ_SETTING(gate_max_ns, EVQ_SET_GATE_MAX);
EVQ_SETTING(max_pinned, EVQ_SET_MAX_PINNED);
EVQ_SETTING(history_events, EVQ_SET_HISTORY);
EVQ_SETTING(history_bytes, EVQ_SET_HISTORY_BYTES);

/* What is counted: a file to read. */
#define EVQ_STATISTIC(_name, _field)							\
	static ssize_t _name##_show(struct device *dev, struct device_attribute *attr,	\
			    char *buf)							\
	{	\
	struct evq_queue_info info;							\
											\
	evq_queue_fill_info(evq_queue_of(dev), &info);					\
	return sysfs_emit(buf, "%llu\n", (u64)info._field);				\
	}	\
	static DEVICE_ATTR_RO(_name)

EVQ_STATISTIC(lanes, nr_lanes);
EVQ_STATISTIC(subscriptions, nr_subscriptions);
EVQ_STATISTIC(blocked, nr_blocked);
EVQ_STATISTIC(accepted, accepted);
EVQ_STATISTIC(waiting, waiting);
EVQ_STATISTIC(dispatched, dispatched);
EVQ_STATISTIC(evicted, evicted);
EVQ_STATISTIC(aborted, aborted);
EVQ_STATISTIC(retained, retained);
EVQ_STATISTIC(retained_bytes, retained_bytes);
EVQ_STATISTIC(pinned, pinned);
EVQ_STATISTIC(refused, refused);

/* Likewise, of listeners. */
#define EVQ_COUNTER(_name)								\
	static ssize_t _name##_show(struct device *dev, struct device_attribute *attr,	\
			    char *buf)							\
	{	\
	return sysfs_emit(buf, "%lld\n",						\
			  (s64)atomic64_read(&evq_queue_of(dev)->_name));		\
	}	\
	static DEVICE_ATTR_RO(_name)

EVQ_COUNTER(callbacks_called);
EVQ_COUNTER(callbacks_failed);
EVQ_COUNTER(callbacks_slow);

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	static const char *const names[] = {
		[EVQ_STATE_RUNNING]	= "running",
		[EVQ_STATE_PAUSED]	= "paused",
		[EVQ_STATE_STOPPING]	= "stopping",
		[EVQ_STATE_STOPPED]	= "stopped",
	};

	return sysfs_emit(buf, "%s\n", names[READ_ONCE(evq_queue_of(dev)->state)]);
}
static DEVICE_ATTR_RO(state);

static struct attribute *evq_attrs[] = {
	&dev_attr_capacity.attr,
	&dev_attr_max_payload.attr,
	&dev_attr_mode.attr,
	&dev_attr_low_mark.attr,
	&dev_attr_kernel_reserve.attr,
	&dev_attr_open_level.attr,
	&dev_attr_user_share.attr,
	&dev_attr_history_events.attr,
	&dev_attr_history_bytes.attr,
	&dev_attr_ack_timeout_ns.attr,
	&dev_attr_gate_max_ns.attr,
	&dev_attr_max_pinned.attr,
	&dev_attr_lanes.attr,
	&dev_attr_state.attr,
	&dev_attr_subscriptions.attr,
	&dev_attr_blocked.attr,
	&dev_attr_accepted.attr,
	&dev_attr_waiting.attr,
	&dev_attr_dispatched.attr,
	&dev_attr_evicted.attr,
	&dev_attr_aborted.attr,
	&dev_attr_retained.attr,
	&dev_attr_retained_bytes.attr,
	&dev_attr_pinned.attr,
	&dev_attr_refused.attr,
	&dev_attr_callbacks_called.attr,
	&dev_attr_callbacks_failed.attr,
	&dev_attr_callbacks_slow.attr,
	NULL,
};
ATTRIBUTE_GROUPS(evq);

static struct class evq_class = {
	.name = "evq",
};

/*
 * The node's name is not the folder's. Without memory for it the node would have the
 * folder's name, whatever that is taken for, and nobody would remove it: such short names
 * are worth waiting for.
 */
static char *evq_device_node(evq_const_device *dev, umode_t *mode, kuid_t *uid, kgid_t *gid)
{
	const struct evq_device *device = container_of(dev, struct evq_device, dev);

	/* Who removes the node does not ask for the rest. */
	if (mode)
		*mode = device->mode;
	if (uid)
		*uid = device->uid;
	if (gid)
		*gid = device->gid;
	if (!strcmp(dev_name(dev), EVQ_DEVICE_DEFAULT))
		return kstrdup("evq", GFP_KERNEL | __GFP_NOFAIL);
	return kasprintf(GFP_KERNEL | __GFP_NOFAIL, "evq-%s", dev_name(dev));
}

static void evq_device_release(struct device *dev)
{
	struct evq_device *device = evq_device_of(dev);

	ida_free(&evq_minors, MINOR(dev->devt));
	evq_queue_put(device->queue);
	kfree(device);
}

static const struct device_type evq_device_type = {
	.name		= "evq",
	.groups		= evq_groups,
	.devnode	= evq_device_node,
	.release	= evq_device_release,
};

static struct evq_device *evq_device_find(const char *name)
{
	struct evq_device *device;

	lockdep_assert_held(&evq_devices_lock);

	list_for_each_entry(device, &evq_devices, node)
		if (!strcmp(dev_name(&device->dev), name))
			return device;
	return NULL;
}

/* Make the device of a queue, a handle of which it takes over if it succeeds. */
static int evq_device_add(const char *name, struct evq_queue *queue, umode_t mode,
			  kuid_t uid, kgid_t gid)
{
	struct evq_device *device;
	int minor, ret;

	device = kzalloc(sizeof(*device), GFP_KERNEL);
	if (!device)
		return -ENOMEM;
	minor = ida_alloc_max(&evq_minors, EVQ_MINORS - 1, GFP_KERNEL);
	if (minor < 0) {
		kfree(device);
		return minor;
	}
	device_initialize(&device->dev);
	device->dev.class = &evq_class;
	device->dev.type = &evq_device_type;
	device->dev.devt = evq_first_dev + minor;
	/* Its files may be read as long as its memory is there. */
	evq_queue_get(queue);
	device->queue = queue;
	device->mode = mode;
	device->uid = uid;
	device->gid = gid;
	cdev_init(&device->cdev, &evq_queue_fops);
	device->cdev.owner = THIS_MODULE;
	ret = dev_set_name(&device->dev, "%s", name);
	if (!ret)
		ret = cdev_device_add(&device->cdev, &device->dev);
	if (ret) {
		put_device(&device->dev);
		return ret;
	}
	list_add_tail(&device->node, &evq_devices);
	return 0;
}

/**
 * evq_device_create() - make a named queue
 * @name: its name, valid
 * @nr_lanes: as in evq_queue_create(), and so the next two
 * @settings: its settings
 * @state: EVQ_STATE_RUNNING or EVQ_STATE_PAUSED
 * @mode: of its node
 * @uid: owner of its node
 * @gid: group of its node
 *
 * Context: process; may sleep.
 * Return: the queue with a handle for the caller, or an error: -EEXIST, or as
 *	evq_queue_create().
 */
struct evq_queue *evq_device_create(const char *name, u32 nr_lanes,
				    const struct evq_queue_settings *settings,
				    enum evq_state state, umode_t mode, kuid_t uid, kgid_t gid)
{
	struct evq_queue *queue;
	int ret;

	mutex_lock(&evq_devices_lock);
	if (evq_device_find(name)) {
		queue = ERR_PTR(-EEXIST);
		goto unlock;
	}
	queue = evq_queue_create(name, nr_lanes, settings, state);
	if (IS_ERR(queue))
		goto unlock;
	ret = evq_device_add(name, queue, mode, uid, gid);
	if (ret) {
		evq_queue_put_handle(queue);
		queue = ERR_PTR(ret);
		goto unlock;
	}
	/* One is the device's, one the caller's. */
	evq_queue_get_handle(queue);
unlock:
	mutex_unlock(&evq_devices_lock);
	return queue;
}

/* Begin to destroy a device: take it away from those who look for it. */
static void evq_device_remove(struct evq_device *device)
{
	lockdep_assert_held(&evq_devices_lock);

	list_del(&device->node);
	device->gone = true;
	cdev_device_del(&device->cdev, &device->dev);
	evq_delay_point();
	evq_queue_destroy(device->queue);
	evq_delay_point();
	evq_queue_put_handle(device->queue);
	put_device(&device->dev);
}

/**
 * evq_device_destroy() - destroy a named queue
 * @name: its name; not that of the default one
 *
 * The queue drains; those who have it open keep it.
 *
 * Context: process; may sleep.
 * Return: 0 or -ENOENT.
 */
int evq_device_destroy(const char *name)
{
	struct evq_device *device;
	int ret = -ENOENT;

	mutex_lock(&evq_devices_lock);
	device = evq_device_find(name);
	/* The default one is the module's own. */
	if (device && strcmp(name, EVQ_DEVICE_DEFAULT)) {
		evq_device_remove(device);
		ret = 0;
	}
	mutex_unlock(&evq_devices_lock);
	return ret;
}

/**
 * evq_device_get_queue() - find a named queue
 * @name: its name; NULL: the default one
 *
 * Context: process; may sleep.
 * Return: the queue with a handle, or -ENOENT.
 */
struct evq_queue *evq_device_get_queue(const char *name)
{
	struct evq_queue *queue = ERR_PTR(-ENOENT);
	struct evq_device *device;

	mutex_lock(&evq_devices_lock);
	device = evq_device_find(name ?: EVQ_DEVICE_DEFAULT);
	if (device) {
		queue = device->queue;
		evq_queue_get_handle(queue);
	}
	mutex_unlock(&evq_devices_lock);
	return queue;
}

/**
 * evq_device_open() - open(2) of a node
 * @inode: the node
 * @file: the file
 *
 * Return: 0, -ENOMEM, or -ENXIO if the queue was destroyed meanwhile.
 */
int evq_device_open(struct inode *inode, struct file *file)
{
	struct evq_device *device = container_of(inode->i_cdev, struct evq_device, cdev);
	bool gone;

	evq_delay_point();
	mutex_lock(&evq_devices_lock);
	gone = device->gone;
	if (!gone)
		evq_queue_get_handle(device->queue);
	mutex_unlock(&evq_devices_lock);
	if (gone)
		return -ENXIO;
	return evq_queue_fd_open_device(file, device->queue);
}

/**
 * evq_device_module_init() - prepare for devices
 *
 * Return: 0 or a negative error.
 */
int evq_device_module_init(void)
{
	int ret = alloc_chrdev_region(&evq_first_dev, 0, EVQ_MINORS, "evq");

	if (ret)
		return ret;
	ret = class_register(&evq_class);
	if (ret)
		unregister_chrdev_region(evq_first_dev, EVQ_MINORS);
	return ret;
}

/**
 * evq_device_module_exit() - destroy all devices
 *
 * Nobody has them open any more.
 */
void evq_device_module_exit(void)
{
	struct evq_device *device, *next;

	mutex_lock(&evq_devices_lock);
	list_for_each_entry_safe(device, next, &evq_devices, node)
		evq_device_remove(device);
	mutex_unlock(&evq_devices_lock);
	class_unregister(&evq_class);
	unregister_chrdev_region(evq_first_dev, EVQ_MINORS);
	ida_destroy(&evq_minors);
}
