/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels that evq supports, 6.1 to 6.12. Everything
 * else in the module is written for the newest of them.
 */
#ifndef EVQ_COMPAT_H
#define EVQ_COMPAT_H

#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/version.h>

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
#include <linux/io_uring/cmd.h>
#else
#include <linux/io_uring.h>
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
/* Gone: a missing llseek means the same. */
#define no_llseek NULL
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 2, 0)
/* What a devnode callback is given. */
#define evq_const_device const struct device
#else
#define evq_const_device struct device
#endif

/* The part of a submission queue entry that is the command's own: memory shared with the program */
static inline const void *evq_uring_command_of(const struct io_uring_cmd *cmd)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
	return cmd->sqe->cmd;
#else
	return cmd->cmd;
#endif
}

/* Of a mapping that is being made */
static inline void evq_vma_set_flags(struct vm_area_struct *vma, vm_flags_t set, vm_flags_t clear)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 3, 0)
	vm_flags_mod(vma, set, clear);
#else
	vma->vm_flags = (vma->vm_flags | set) & ~clear;
#endif
}

#endif /* EVQ_COMPAT_H */
