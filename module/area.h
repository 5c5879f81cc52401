/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Areas.
 *
 * An area is some pages that the kernel and a program share. In the kernel they are one after
 * the other, as they are where a program maps them. The last of them may be there twice, so that
 * what goes on at their beginning is in one piece.
 *
 *     [once 0] ... [once n] [twice 0] ... [twice n] [twice 0] ... [twice n]
 *
 * Lifetime: with its ring. A mapping holds the file of the ring; the pages are counted by who
 * maps them besides.
 */
#ifndef EVQ_AREA_H
#define EVQ_AREA_H

#include <linux/types.h>

struct page;
struct vm_area_struct;

/**
 * struct evq_area - see above; constant
 * @memory: where the kernel finds it
 * @nr_pages: how long it is
 * @nr_own: how many pages it has
 * @pages: the pages, in their order there
 */
struct evq_area {
	void		*memory;
	unsigned int	nr_pages;
	unsigned int	nr_own;
	struct page	**pages;
};

int evq_area_create(struct evq_area *area, unsigned int once, unsigned int twice);
void evq_area_destroy(struct evq_area *area);
size_t evq_area_size(const struct evq_area *area);
int evq_areas_mmap(const struct evq_area *kernel, const struct evq_area *program,
		   struct vm_area_struct *vma);

#endif /* EVQ_AREA_H */
