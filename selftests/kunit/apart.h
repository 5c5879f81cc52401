/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Included before everything else: what would be there twice if evq.ko is loaded too. The
 * caches of slots and events are to have names of their own. (Exported symbols are dealt with in
 * Kbuild; the one file with a tracepoint is not copied.)
 */
#ifndef EVQ_KUNIT_APART_H
#define EVQ_KUNIT_APART_H

#include <linux/slab.h>

#undef KMEM_CACHE
#define KMEM_CACHE(name, flags)							\
	kmem_cache_create("evq_kunit_" #name, sizeof(struct name),		\
			  __alignof__(struct name), flags, NULL)
#define kmem_cache_create_usercopy(name, ...)					\
	kmem_cache_create_usercopy("evq_kunit_" name, __VA_ARGS__)

#endif /* EVQ_KUNIT_APART_H */
