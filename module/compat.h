/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What differs between the kernels that evq supports, 6.1 to 6.12. Everything
 * else in the module is written for the newest of them.
 */
#ifndef EVQ_COMPAT_H
#define EVQ_COMPAT_H

#include <linux/fs.h>
#include <linux/version.h>

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

#endif /* EVQ_COMPAT_H */
