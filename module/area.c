// SPDX-License-Identifier: GPL-2.0-only
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "area.h"
#include "compat.h"

/**
 * evq_area_create() - make an area, all zeroes
 * @area: the area; zeroed
 * @once: how many pages are there once
 * @twice: how many are there twice
 *
 * The caller's memory cgroup pays.
 *
 * Context: process; may sleep.
 * Return: 0, or -ENOMEM: then there may be a part of it, for evq_area_destroy().
 */
int evq_area_create(struct evq_area *area, unsigned int once, unsigned int twice)
{
	unsigned int i;

	area->nr_own = once + twice;
	area->nr_pages = once + 2 * twice;
	area->pages = kvcalloc(area->nr_pages, sizeof(*area->pages), GFP_KERNEL_ACCOUNT);
	if (!area->pages)
		return -ENOMEM;
	for (i = 0; i < area->nr_own; i++) {
		area->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO | __GFP_NOWARN);
		if (!area->pages[i])
			return -ENOMEM;
		if (i >= once)
			area->pages[i + twice] = area->pages[i];
	}
	area->memory = vmap(area->pages, area->nr_pages, VM_MAP, PAGE_KERNEL);
	return area->memory ? 0 : -ENOMEM;
}

/**
 * evq_area_destroy() - free an area
 * @area: an area that nobody uses, or a part of one, or zeroes
 *
 * Context: process; may sleep.
 */
void evq_area_destroy(struct evq_area *area)
{
	unsigned int i;

	if (area->memory)
		vunmap(area->memory);
	for (i = 0; area->pages && i < area->nr_own; i++)
		if (area->pages[i])
			__free_page(area->pages[i]);
	kvfree(area->pages);
}

/**
 * evq_area_size() - how long an area is, bytes
 * @area: the area
 */
size_t evq_area_size(const struct evq_area *area)
{
	return (size_t)area->nr_pages << PAGE_SHIFT;
}

/**
 * evq_areas_mmap() - map one of two areas into a program
 * @kernel: at offset 0; a program can only read it
 * @program: comes after it; a program can write it
 * @vma: where
 *
 * Context: process, with the lock of its mappings held; may sleep.
 * Return: 0; -EINVAL if it is neither, or would be private; -EACCES to write into the kernel's;
 *	or -ENOMEM.
 */
int evq_areas_mmap(const struct evq_area *kernel, const struct evq_area *program,
		   struct vm_area_struct *vma)
{
	unsigned long nr_pages = vma_pages(vma);

	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (vma->vm_pgoff == kernel->nr_pages && nr_pages == program->nr_pages) {
		evq_vma_set_flags(vma, VM_DONTEXPAND | VM_DONTDUMP, 0);
		return vm_map_pages_zero(vma, program->pages, program->nr_pages);
	}
	if (vma->vm_pgoff || nr_pages != kernel->nr_pages)
		return -EINVAL;
	if (vma->vm_flags & VM_WRITE)
		return -EACCES;
	/* Nor by mprotect() later. */
	evq_vma_set_flags(vma, VM_DONTEXPAND | VM_DONTDUMP, VM_MAYWRITE);
	return vm_map_pages_zero(vma, kernel->pages, kernel->nr_pages);
}
