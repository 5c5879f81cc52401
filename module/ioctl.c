// SPDX-License-Identifier: GPL-2.0-only
#include <linux/file.h>
#include <linux/uaccess.h>

#include "ioctl.h"
#include "queue.h"
#include "read_queue.h"
#include "subscription.h"

/**
 * evq_ioctl_run() - run an ioctl, or a command of io_uring
 * @table: the commands of this kind of fd
 * @n: how many
 * @file: the fd's
 * @cmd: what the caller wants
 * @uarg: its structure
 *
 * Commands are told apart by their number and direction; the size says which
 * version of the structure the caller has.
 *
 * Context: process; may sleep.
 * Return: what the command returned; -ENOTTY if there is none of that number.
 */
long evq_ioctl_run(const struct evq_ioctl *table, size_t n, struct file *file,
		   unsigned int cmd, void __user *uarg)
{
	struct evq_call call = { .file = file, .uarg = uarg, .usize = _IOC_SIZE(cmd) };
	const unsigned int size_mask = _IOC_SIZEMASK << _IOC_SIZESHIFT;
	int ret;

	while (n && (table->cmd & ~size_mask) != (cmd & ~size_mask)) {
		table++;
		n--;
	}
	if (!n)
		return -ENOTTY;
	if (call.usize < table->min_size)
		return -EINVAL;
	call.ksize = _IOC_SIZE(table->cmd);

	if (_IOC_DIR(cmd) & _IOC_WRITE) {
		ret = copy_struct_from_user(&call.arg, call.ksize, uarg, call.usize);
		if (ret)
			return ret;
	}
	/* As it came: this only finds out whether it can be written. */
	if (_IOC_DIR(cmd) == (_IOC_READ | _IOC_WRITE) && evq_call_answer(&call))
		return -EFAULT;
	return table->run(&call);
}

/**
 * evq_call_answer() - give the structure back to the caller
 * @call: the call
 *
 * Context: process; may sleep.
 * Return: 0 or -EFAULT.
 */
int evq_call_answer(struct evq_call *call)
{
	size_t size = min(call->usize, call->ksize);

	if (copy_to_user(call->uarg, &call->arg, size) ||
	    clear_user(call->uarg + size, call->usize - size))
		return -EFAULT;
	return 0;
}

/**
 * evq_call_reserve_fd() - begin to make an fd: get its number
 *
 * Before anything else is made, which would have to be undone where a process may have no
 * more of them.
 *
 * Context: process; may sleep.
 * Return: the number, which wants evq_call_install_fd(); or -EMFILE, or another error.
 */
int evq_call_reserve_fd(void)
{
	return get_unused_fd_flags(O_CLOEXEC);
}

/**
 * evq_call_install_fd() - make an fd of its number and its file
 * @fd: the number
 * @file: the open file, or an error
 * @ret: 0, or why it is not to be: then number and file are given back
 *
 * Context: process; may sleep.
 * Return: @ret, or else the error that @file is.
 */
int evq_call_install_fd(int fd, struct file *file, int ret)
{
	ret = ret ?: PTR_ERR_OR_ZERO(file);
	if (!ret) {
		fd_install(fd, file);
		return 0;
	}
	put_unused_fd(fd);
	if (!IS_ERR(file))
		fput(file);
	return ret;
}

/**
 * evq_call_answer_fd() - give the structure back, with a new fd in it
 * @call: the call
 * @fd: its number
 * @out_fd: the structure's field for it
 * @file: the open file, or an error; what becomes of both is settled here
 *
 * Context: process; may sleep.
 * Return: 0, -EFAULT, or the error that @file is.
 */
int evq_call_answer_fd(struct evq_call *call, int fd, s32 *out_fd, struct file *file)
{
	*out_fd = fd;
	return evq_call_install_fd(fd, file, IS_ERR(file) ? 0 : evq_call_answer(call));
}

/**
 * evq_ioctl_features() - EVQ_IOC_FEATURES, on every kind of fd
 * @call: the call
 */
int evq_ioctl_features(struct evq_call *call)
{
	struct evq_features *features = &call->arg.features;

	memset(features, 0, sizeof(*features));
	features->abi_version = EVQ_ABI_VERSION;
	features->nr_causes = EVQ_NR_CAUSES;
	features->max_queues = READ_ONCE(evq_max_queues);
	features->max_subscriptions = READ_ONCE(evq_max_subscriptions);
	features->max_registrations = READ_ONCE(evq_max_registrations);
	features->submit_max = EVQ_SUBMIT_MAX;
	features->capacity_max = EVQ_CAPACITY_MAX;
	features->payload_max = EVQ_PAYLOAD_MAX;
	features->records_max = EVQ_RECORDS_MAX;
	features->bytes_max = EVQ_BYTES_MAX;
	features->lanes_max = EVQ_LANES_MAX;
	features->history_max = EVQ_HISTORY_MAX;
	features->receipts_max = EVQ_RECEIPTS_MAX;
	features->ack_max = EVQ_ACK_MAX;
	return evq_call_answer(call);
}
