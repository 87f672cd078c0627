/* SPDX-License-Identifier: MIT */
/*
 * One zone's free area: for each migratetype and order a list of free blocks, one byte per frame that
 * says what the frame is, one byte per pageblock that names its type. Only mechanism lives here: which
 * list to take from is fallback.c's question, whether the zone may be used at all watermark.c's, what
 * waits on per-CPU lists percpu.c's, and which zone to try buddy.c's.
 *
 * Frames are numbered from the zone's base, its start rounded down to a largest block, so that an index
 * is aligned exactly where its pfn is. The arrays also reach up to the next largest block; frames
 * outside the zone are CELL_ABSENT, and a buddy there is never free. So no border is ever tested, and
 * blocks cannot cross one.
 *
 * Lists are circular, doubly linked through 32-bit indices, with one sentinel each behind the last
 * frame. Two free frames that are buddies at order 0 merge at once, so of each aligned pair at most one
 * starts a listed block: a pair shares one link, and a frame costs 5 bytes in all.
 *
 * Thread-safety: whoever changes or follows lists holds the zone's lock. The bytes of frames and
 * pageblocks are read without it, too, to validate a free and to choose its per-CPU list, and the owner
 * of an allocated block changes its bytes without it: they are only accessed by cell_*() and the like.
 */
#ifndef ALLOCATORS_BUDDY_ZONE_H
#define ALLOCATORS_BUDDY_ZONE_H

#include "allocators/allocator.h"
#include "allocators/pcp.h"
#include "allocators/spin.h"

#define PAGEBLOCK_ORDER	  HUGE_ORDER
#define PAGEBLOCK_FRAMES  (1U << PAGEBLOCK_ORDER)
#define MAX_ORDER_FRAMES  (1U << MAX_ORDER)
#define MIGRATE_MERGEABLE 3 /* types below may be turned into one another */

#define ZONE_FRAMES_MAX (UINT32_MAX - 4096) /* what 32-bit indices and the sentinels leave */
#define ZONE_NO_FRAME	UINT32_MAX

/* What a frame is. 0: inside a free block, behind its first frame. */
enum cell {
	CELL_USED = 0x01,    /* allocated */
	CELL_MOVABLE = 0x02, /* with CELL_USED: asked for as movable */
	CELL_ABSENT = 0x04,  /* not ours: a hole, reserved, offline, or outside the zone */
	CELL_TAKEN = 0x08,   /* isolated below pageblock size: neither free nor allocated */
	CELL_PERCPU =
		0x40,	   /* free on a per-CPU list; low bits: its pageblock's type when it came */
	CELL_FREE = 0x80,  /* first frame of a listed free block; with its list's type and order */
	CELL_TYPE = 0x70,  /* with CELL_FREE, shifted by CELL_TYPE_SHIFT */
	CELL_ORDER = 0x0f, /* with CELL_FREE */
};

#define CELL_TYPE_SHIFT 4

/* A pageblock's byte: enum migratetype, and beside it: */
#define BLOCK_ISOLATED 0x80U /* isolated for a while */
#define BLOCK_PROVEN   0x40U /* a recording has shown the type, nobody guessed it */
#define BLOCK_TYPE     0x0fU

struct zone_link {
	uint32_t prev, next;
};

typedef uint64_t __attribute__((may_alias)) zone_eight; /* cells, eight at a time */

struct buddy_pcp;

/* Which free lists a fallback turns to; by the names of the option. */
enum fallback_rules {
	FALLBACK_CLAIM,	  /* 6.15 and up: claim a pageblock, else steal the smallest block */
	FALLBACK_LARGEST, /* 6.10 to 6.14: what cannot be claimed is stolen from the largest block */
	FALLBACK_OLD,	  /* up to 6.9: lists of mixed pageblocks */
};

enum zone_flag {
	ZONE_BELOW_HIGH = PCP_BELOW_HIGH,     /* an allocation has found it so */
	ZONE_RECLAIM_ACTIVE = PCP_RECLAIMING, /* kswapd is at work */
	ZONE_BOOSTED = 4,		      /* the request under way should wake kswapd */
};

struct buddy_zone {
	uint8_t *cells;		 /* enum cell, per frame */
	uint8_t *types;		 /* per pageblock */
	struct zone_link *links; /* per pair of frames, then per list */
	pfn_t base;		 /* pfn of frame 0 */
	uint32_t start, end;	 /* the zone's span as frame indices */
	uint32_t nr_frames;	 /* length of cells, a multiple of MAX_ORDER_FRAMES */
	uint16_t node;
	uint8_t type;	       /* enum zone_type */
	bool grouping;	       /* by mobility; off on tiny machines */
	uint8_t fallback;      /* enum fallback_rules */
	_Atomic uint8_t flags; /* enum zone_flag */
	struct buddy_pcp *pcp; /* one per cpu; NULL: pcp=off */
	bool drain_cached;     /* drains go by the type a pageblock had when its frame came */

	/* Frames; see watermark.h. */
	uint64_t managed, mark_min, mark_low, mark_high;
	uint64_t lowmem_reserve[ZONE_TYPES];
	_Atomic uint64_t boost;			/* added to all marks */
	_Atomic uint64_t boost_at_wake;		/* what kswapd set out to work off */
	uint64_t hole_pageblocks;		/* without memory, when the zone was made */
	_Atomic uint64_t nr_cma, nr_highatomic; /* frames in pageblocks of these types */
	bool unmerged; /* pageblocks have left the reserve, whose buddies may be free, too */
	struct percpu_limits percpu; /* the machine's; batch 0: none given */

	/* Of everything from here on, and the lists; what is atomic is read without it, too. */
	struct spin lock __attribute__((aligned(64)));
	_Atomic uint16_t nonempty[MIGRATE_TYPES]; /* bit order: that list has blocks */
	_Atomic uint64_t nr_free_frames;	  /* on all lists but ISOLATE's */
	_Atomic uint64_t free_frames[MIGRATE_TYPES];
	uint64_t nr_free[MIGRATE_TYPES][NR_ORDERS]; /* blocks */
	uint32_t
		target_scanner; /* pageblocks below it are compaction's next targets; 0: from the end */
	/* Since creation or adoption. The first counts what the tracepoint of its name does. */
	uint64_t zone_locked; /* blocks taken from the lists of their own type or a claim's */
	uint64_t claims;      /* whole pageblocks changed hands for a request */
	uint64_t claimed_pageblocks; /* how many */
	uint64_t steals;	     /* served from another type's pageblock, which kept its type */
	_Atomic uint64_t spills;     /* allocations that came here from a preferred zone */
	uint64_t boosts;
};

/**
 * zone_init - a zone with empty lists and all pageblocks MOVABLE
 * @env: provides the arrays, which live as long as it does
 * The cells in the span are 0, waiting to be painted absent or listed with zone_list_range().
 * Return: 0; -ENOMEM; -EFBIG: more frames than a 32-bit index can name. @env->error says more.
 */
int zone_init(struct buddy_zone *z, const struct zone *zone, const struct alloc_env *env);

/** Forget everything: every cell absent, every list empty, every pageblock of @type. */
void zone_reset(struct buddy_zone *z, uint8_t type);

/** Set cells [@start, @end), frame indices, to @cell. */
void zone_paint(struct buddy_zone *z, uint32_t start, uint32_t end, uint8_t cell);

/**
 * zone_list_range - list the unlisted free frames [@start, @end) as the boot hand-over does: cut
 * greedily, each block to the tail of its list, without merging
 * The cells must be 0 and the frames before @start and from @end on not free. A largest block whose
 * pageblocks differ is made one type if both are mergeable and two blocks if not; MIGRATE_UNKNOWN
 * pageblocks follow their neighbour, or become MOVABLE.
 */
void zone_list_range(struct buddy_zone *z, uint32_t start, uint32_t end);

/**
 * zone_order_lists - order the lists as if all that is free had been freed from the highest frame down
 * A snapshot does not tell the order. This is what the kernel's rules make of memory that is given back
 * that way, as a recording's burn-in does.
 */
void zone_order_lists(struct buddy_zone *z);

/**
 * zone_take - the first block of the smallest non-empty list of type @mt from @order up, cut down to
 * @order with the remainders left to @mt (__rmqueue_smallest)
 * Return: its first frame, whose cells the caller must set; ZONE_NO_FRAME: all lists are empty.
 */
uint32_t zone_take(struct buddy_zone *z, unsigned int order, unsigned int mt);

/** The block zone_take() would return, which changes nothing. */
uint32_t zone_peek(const struct buddy_zone *z, unsigned int order, unsigned int mt);

/**
 * zone_expand - cut the unlisted block at @f from order @high down to @low: the low half is kept, each
 * upper half goes to the head of its list of type @mt, largest first
 */
void zone_expand(struct buddy_zone *z, uint32_t f, unsigned int high, unsigned int low,
		 unsigned int mt);

/**
 * zone_free - list a block, merged with its free buddies (__free_one_page)
 * @mt: the list's type, its pageblock's but in old kernels; buddies of pageblock size take it over if
 *      both are mergeable
 * @to_tail: as boot and putting back do; otherwise the tail only if the next merge is likely: the
 *           buddy of the block this one would become part of is free
 * Whatever the cells of the block were, they end up as those of a free block.
 */
void zone_free(struct buddy_zone *z, uint32_t f, unsigned int order, unsigned int mt, bool to_tail);

/**
 * zone_free_split - zone_free() by the type of the block's pageblock; larger ones pageblock by
 * pageblock, ascending, each by its own type (split_large_buddy)
 */
void zone_free_split(struct buddy_zone *z, uint32_t f, unsigned int order, bool to_tail);

/** Free [@start, @end) cut greedily, each piece to the tail. */
void zone_free_range(struct buddy_zone *z, uint32_t start, uint32_t end);

/**
 * zone_containing - the listed free block in which the block at @f of @order lies
 * @found: its order
 * Return: its first frame, or ZONE_NO_FRAME.
 */
uint32_t zone_containing(const struct buddy_zone *z, uint32_t f, unsigned int order,
			 unsigned int *found);

/**
 * zone_carve - take exactly the block at @f of @order out of the free block it lies in; the siblings
 * go to the head of their lists, largest first (break_down_buddy_pages)
 * The caller must set the cells. Return: 0; -EBUSY, with nothing changed: not all of it is free.
 */
int zone_carve(struct buddy_zone *z, uint32_t f, unsigned int order);

/**
 * zone_move_free - move each free block of the pageblock at @f to the tail of type @to's lists,
 * ascending; the pageblock's own type is left alone
 */
void zone_move_free(struct buddy_zone *z, uint32_t f, unsigned int to);

/** True if all 2^@order cells from @f, aligned, are allocated. */
bool zone_all_used(const struct buddy_zone *z, uint32_t f, unsigned int order);

/** Length of the run from @f, below @end, of cells that are free or inside a free block. */
uint32_t zone_free_run(const struct buddy_zone *z, uint32_t f, uint32_t end);

static inline uint32_t zone_index(const struct buddy_zone *z, pfn_t pfn)
{
	return (uint32_t)(pfn - z->base);
}

static inline uint8_t cell_at(const struct buddy_zone *z, uint32_t f)
{
	return __atomic_load_n(&z->cells[f], __ATOMIC_RELAXED);
}

static inline void cell_set(struct buddy_zone *z, uint32_t f, uint8_t cell)
{
	__atomic_store_n(&z->cells[f], cell, __ATOMIC_RELAXED);
}

/** Set the cells of an aligned block. */
static inline void cell_fill(struct buddy_zone *z, uint32_t f, unsigned int order, uint8_t cell)
{
	const uint64_t eight = UINT64_C(0x0101010101010101) * cell;
	uint8_t *at = z->cells + f, *end = at + (1U << order);

	if (order < 3) {
		for (; at < end; at++)
			__atomic_store_n(at, cell, __ATOMIC_RELAXED);
		return;
	}
	for (; at < end; at += sizeof(eight))
		__atomic_store_n((zone_eight *)at, eight, __ATOMIC_RELAXED);
}

/** True if the cell says: in a free block, first frame or not. */
static inline bool cell_is_free(uint8_t cell)
{
	return cell == 0 || cell & CELL_FREE;
}

static inline bool cell_is_percpu(uint8_t cell)
{
	return (cell & (CELL_FREE | CELL_PERCPU)) == CELL_PERCPU;
}

static inline uint8_t cell_free_block(unsigned int order, unsigned int mt)
{
	return (uint8_t)(CELL_FREE | mt << CELL_TYPE_SHIFT | order);
}

/** The type of the list a free block is on. */
static inline unsigned int cell_list_type(uint8_t cell)
{
	return (cell & (unsigned int)CELL_TYPE) >> CELL_TYPE_SHIFT;
}

/** The type of the pageblock of @f as its lists see it. */
static inline unsigned int zone_type_of(const struct buddy_zone *z, uint32_t f)
{
	uint8_t type = __atomic_load_n(&z->types[f >> PAGEBLOCK_ORDER], __ATOMIC_RELAXED);

	return type & BLOCK_ISOLATED ? MIGRATE_ISOLATE : type & BLOCK_TYPE;
}

static inline bool zone_type_proven(const struct buddy_zone *z, uint32_t f)
{
	return __atomic_load_n(&z->types[f >> PAGEBLOCK_ORDER], __ATOMIC_RELAXED) & BLOCK_PROVEN;
}

/** A pageblock has become of type @mt (@more), or no longer is. Under the zone's lock. */
static inline void zone_count_type(struct buddy_zone *z, unsigned int mt, bool more)
{
	_Atomic uint64_t *frames = mt == MIGRATE_HIGHATOMIC ? &z->nr_highatomic : &z->nr_cma;
	uint64_t now = atomic_load_explicit(frames, memory_order_relaxed);

	if (mt != MIGRATE_HIGHATOMIC && mt != MIGRATE_CMA)
		return;
	if (more)
		now += PAGEBLOCK_FRAMES;
	else
		now -= now < PAGEBLOCK_FRAMES ? now : PAGEBLOCK_FRAMES;
	atomic_store_explicit(frames, now, memory_order_relaxed);
}

static inline void zone_set_type(struct buddy_zone *z, uint32_t f, uint8_t type)
{
	__atomic_store_n(&z->types[f >> PAGEBLOCK_ORDER], type, __ATOMIC_RELAXED);
}

/** Does a listed free block of exactly this order start at @f? */
static inline bool zone_free_at(const struct buddy_zone *z, uint32_t f, unsigned int order)
{
	return (cell_at(z, f) & (CELL_FREE | CELL_ORDER)) == (CELL_FREE | order);
}

/** May free neighbours of pageblock size of types @a and @b become one block? */
static inline bool types_merge(unsigned int a, unsigned int b)
{
	return a == b || (a < MIGRATE_MERGEABLE && b < MIGRATE_MERGEABLE);
}

static inline uint32_t zone_sentinel(const struct buddy_zone *z, unsigned int order,
				     unsigned int mt)
{
	return z->nr_frames + 2 * (mt * NR_ORDERS + order);
}

static inline struct zone_link *zone_link(const struct buddy_zone *z, uint32_t f)
{
	return &z->links[f >> 1];
}

/** First block of a list; the list must not be empty. */
static inline uint32_t zone_first(const struct buddy_zone *z, unsigned int order, unsigned int mt)
{
	return zone_link(z, zone_sentinel(z, order, mt))->next;
}

/** The orders from which a type's lists have blocks, as bits. */
static inline unsigned int zone_orders(const struct buddy_zone *z, unsigned int mt)
{
	return atomic_load_explicit(&z->nonempty[mt], memory_order_relaxed);
}

/** Frames in the free blocks of a type. */
static inline uint64_t zone_free_frames(const struct buddy_zone *z, unsigned int mt)
{
	return atomic_load_explicit(&z->free_frames[mt], memory_order_relaxed);
}

/* Only the holder of the lock writes: no locked instructions. */
static inline void zone_add(_Atomic uint64_t *count, uint64_t frames)
{
	atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + frames,
			      memory_order_relaxed);
}

static inline void zone_count(struct buddy_zone *z, unsigned int order, unsigned int mt, bool more)
{
	uint64_t frames = UINT64_C(1) << order;

	frames = more ? frames : -frames;
	zone_add(&z->free_frames[mt], frames);
	if (mt != MIGRATE_ISOLATE)
		zone_add(&z->nr_free_frames, frames);
}

static inline void zone_set_orders(struct buddy_zone *z, unsigned int mt, unsigned int orders)
{
	atomic_store_explicit(&z->nonempty[mt], (uint16_t)orders, memory_order_relaxed);
}

/** Put the block at @f between two neighbours of its list and count it. */
static inline void zone_insert(struct buddy_zone *z, uint32_t f, unsigned int order,
			       unsigned int mt, uint32_t prev, uint32_t next)
{
	*zone_link(z, f) = (struct zone_link){.prev = prev, .next = next};
	zone_link(z, prev)->next = f;
	zone_link(z, next)->prev = f;
	cell_set(z, f, cell_free_block(order, mt));
	zone_set_orders(z, mt, zone_orders(z, mt) | 1U << order);
	z->nr_free[mt][order]++;
	zone_count(z, order, mt, true);
}

static inline void zone_push_head(struct buddy_zone *z, uint32_t f, unsigned int order,
				  unsigned int mt)
{
	uint32_t list = zone_sentinel(z, order, mt);

	zone_insert(z, f, order, mt, list, zone_link(z, list)->next);
}

static inline void zone_push_tail(struct buddy_zone *z, uint32_t f, unsigned int order,
				  unsigned int mt)
{
	uint32_t list = zone_sentinel(z, order, mt);

	zone_insert(z, f, order, mt, zone_link(z, list)->prev, list);
}

/** Take the block at @f off its list. Its cell stays as it is, and is not looked at. */
static inline void zone_remove(struct buddy_zone *z, uint32_t f, unsigned int order,
			       unsigned int mt)
{
	struct zone_link link = *zone_link(z, f);

	zone_link(z, link.prev)->next = link.next;
	zone_link(z, link.next)->prev = link.prev;
	if (--z->nr_free[mt][order] == 0)
		zone_set_orders(z, mt, zone_orders(z, mt) & ~(1U << order));
	zone_count(z, order, mt, false);
}

/** Take the block at @f off the list its cell names. That cell stays as it is. */
static inline void zone_unlink(struct buddy_zone *z, uint32_t f)
{
	uint8_t cell = cell_at(z, f);

	zone_remove(z, f, cell & CELL_ORDER, cell_list_type(cell));
}

/** Mark the unlisted block at @f allocated. */
static inline void zone_mark_used(struct buddy_zone *z, uint32_t f, unsigned int order,
				  bool movable)
{
	cell_fill(z, f, order, movable ? CELL_USED | CELL_MOVABLE : CELL_USED);
}

#endif
