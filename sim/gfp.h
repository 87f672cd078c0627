/* SPDX-License-Identifier: MIT */
/*
 * gfp flags in one fixed numbering, that of v6.x; kernels move the bits, so recorder and importers
 * translate by name.
 */
#ifndef SIM_GFP_H
#define SIM_GFP_H

#include <stddef.h>
#include <stdint.h>

#define GFP_DMA		   0x1U
#define GFP_HIGHMEM	   0x2U
#define GFP_DMA32	   0x4U
#define GFP_MOVABLE	   0x8U
#define GFP_RECLAIMABLE	   0x10U
#define GFP_HIGH	   0x20U
#define GFP_IO		   0x40U
#define GFP_FS		   0x80U
#define GFP_ZERO	   0x100U
#define GFP_DIRECT_RECLAIM 0x400U
#define GFP_KSWAPD_RECLAIM 0x800U
#define GFP_WRITE	   0x1000U
#define GFP_NOWARN	   0x2000U
#define GFP_RETRY_MAYFAIL  0x4000U
#define GFP_NOFAIL	   0x8000U
#define GFP_NORETRY	   0x10000U
#define GFP_MEMALLOC	   0x20000U
#define GFP_COMP	   0x40000U
#define GFP_NOMEMALLOC	   0x80000U
#define GFP_HARDWALL	   0x100000U
#define GFP_THISNODE	   0x200000U
#define GFP_ACCOUNT	   0x400000U
#define GFP_ZEROTAGS	   0x800000U
#define GFP_NO_OBJ_EXT	   0x1000000U

/**
 * gfp_parse - the symbolic text a tracepoint prints, "GFP_KERNEL|__GFP_ZERO", "none", or a number
 * @length: of @text, which need not be terminated
 * @unknown: if not NULL, counts names this table lacks (they contribute no bit)
 * Compound names (GFP_KERNEL, GFP_HIGHUSER_MOVABLE, GFP_TRANSHUGE_LIGHT, ...) are known, current and
 * older spellings (__GFP_ATOMIC is GFP_HIGH).
 */
uint32_t gfp_parse(const char *text, size_t length, unsigned int *unknown);

/** The single-bit flag called @name ("__GFP_ZERO" or "GFP_ZERO"), or 0. */
uint32_t gfp_bit(const char *name, size_t length);

/** "IO|FS|ZERO" into @text (always terminated, cut when too long). "none" for 0. */
void gfp_format(uint32_t gfp, char *text, size_t size);

/** The migratetype a gfp asks for (linux-page-allocator, section 1). */
unsigned int gfp_migratetype(uint32_t gfp);

#endif
