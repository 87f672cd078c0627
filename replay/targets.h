/* SPDX-License-Identifier: MIT */
/*
 * Where compaction put what it moved. A kernel tells that frames moved, and how many: the old places are
 * freed by events, the new ones are taken by none, and when they are freed later nothing is known of
 * them. So each moved frame becomes a *target*: an object of one frame under a name that is free, chosen
 * here; and frees of frames in no object give targets back. The rules, which are the same wherever a
 * trace is followed:
 *
 * - A `compaction` event that moved n frames takes n targets, in the zone of the frame that was freed
 *   last on its cpu: that is an old place.
 * - A name is the next free one below the last one chosen in that zone, from the zone's end round and
 *   round; where the zone has none, in the other zones, the highest first. If names are to be
 *   confirmed, only of frames that the end snapshot finds in use.
 * - What finds no name is not taken, but counted, and owed.
 * - An allocation that takes a target's name shows that the target is elsewhere: it gets another one.
 * - A free of frames in no object (an orphan) gives back as many targets as it has such frames: those of
 *   its own names first, then what is owed, then those below the last one given back, round and round.
 *   It gives nothing back if
 *   - it is of a huge frame or more, which compaction does not move;
 *   - most of what the trace tells of in its huge frame is unmovable: compaction moves to where
 *     movable frames are, and much else is allocated unseen, kernel stacks above all;
 *   - it comes from somebody in the middle of compacting, who returns free frames it had set aside. That
 *     begins with a context's compaction event and ends with its next allocation.
 *   Targets of its names get others then.
 *
 * Everything follows from the order of events alone. Internal to replay/. Not thread-safe.
 */
#ifndef REPLAY_TARGETS_H
#define REPLAY_TARGETS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "replay/marks.h"
#include "sim/frame_map.h"
#include "traces/event.h"

#define TARGETS_CPUS	 16 /* last frees are told apart for so many; further cpus share */
#define TARGETS_CONTEXTS 16 /* as many can be compacting at once; the first to begin is forgotten */

/* What becomes of targets, and what else has names. */
struct targets_calls {
	/** Does an object, be it a target, have this name, or can nothing have it? Not with choose. */
	bool (*taken)(void *arg, pfn_t name);
	/** Are as many frames as not of those that are held round @pfn, in its huge frame, movable? */
	bool (*movable)(void *arg, pfn_t pfn);
	/** Instead of the rule for names: some name in or near @zone. PFN_NONE: none. NULL: the rule. */
	pfn_t (*choose)(void *arg, const struct event *e, unsigned int zone);
	/** A target begins. @zone: where it should be, as an index of the machine's. */
	void (*take)(void *arg, const struct event *e, pfn_t name, unsigned int zone);
	void (*give)(void *arg, const struct event *e, pfn_t name); /* it ends */
	void (*move)(void *arg, const struct event *e, pfn_t from,
		     pfn_t to); /* it has another name */
};

struct targets_config {
	const struct machine *machine; /* whose frames are the names */
	const struct targets_calls *calls;
	void *arg;
	bool confirm;
	const struct frame_map *end; /* to confirm names by; NULL: none can be */
	pfn_t first, last;	     /* names are in [first, last) */
};

struct targets {
	const struct machine *machine;
	const struct targets_calls *calls;
	void *arg;
	pfn_t first, last;
	bool confirm;
	struct marks used;		      /* if confirm: in use at the end */
	struct marks of;		      /* names of targets; its n: how many there are */
	pfn_t next[MACHINE_ZONES_MAX];	      /* names below it are tried first */
	uint64_t again_at[MACHINE_ZONES_MAX]; /* after so many frees: none was left before */
	pfn_t next_given;
	pfn_t freed[TARGETS_CPUS]; /* last */
	uint32_t compacting[TARGETS_CONTEXTS], nr_compacting;
	uint64_t managed, frees, owed;
	uint64_t moves, returns, unplaced; /* frames; the metrics compaction_* */
};

/** Cheap: memory is mapped on demand. @config->end is not kept. Return: 0 or -ENOMEM. */
int targets_create(struct targets *t, const struct targets_config *config, struct error *err);
void targets_destroy(struct targets *t); /* of a zeroed one, too */

/** A `compaction` event. Return: false: it claims to have moved more than the machine has. */
bool targets_compaction(struct targets *t, const struct event *e);

/** Something that is no target is about to have the names [@pfn, @pfn + @frames). */
void targets_make_way(struct targets *t, const struct event *e, pfn_t pfn, uint64_t frames);

/** A free of which @unknown frames, those of targets among them, are in no object of the trace. */
void targets_orphan(struct targets *t, const struct event *e, uint64_t unknown);

/** Its context allocates: it is not compacting any more. For targets_allocated(). */
void targets_stop_compacting(struct targets *t, uint32_t context);

/* The rest is for every event: nearly nothing, as long as nobody compacts. */

static inline void targets_allocated(struct targets *t, uint32_t context)
{
	if (t->nr_compacting)
		targets_stop_compacting(t, context);
}

static inline void targets_freed(struct targets *t, const struct event *e)
{
	t->frees++;
	t->freed[e->cpu % TARGETS_CPUS] = e->pfn;
}

#endif
