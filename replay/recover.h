/* SPDX-License-Identifier: MIT */
/*
 * After a replay that kept its memory in a file was killed: the back end is brought back from its metadata,
 * and held against the journal of what it had told, frame by frame. Statistics alone are not believed.
 *
 * The file is only read, by private copies of its pages: it can be recovered again with the same result,
 * also after recovery itself was killed.
 */
#ifndef REPLAY_RECOVER_H
#define REPLAY_RECOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct recovery {
	char *allocator, *trace, *build; /* as in kept_identity */
	bool finished;			 /* all events had been played */
	uint64_t event;			 /* number of the last one that was begun */
	const char *under_way;		 /* what was: "alloc", "free", ...; NULL: nothing */
	unsigned int under_way_order;
	uint64_t managed_frames;
	uint64_t live_blocks, live_frames; /* as the journal tells */
	uint64_t free_frames;		   /* that could be had */
	uint64_t lost_frames;		   /* live, yet could be had */
	uint64_t leaked_frames;		   /* not live, yet could not be had */
	uint64_t
		under_way_frames; /* neither: of the operation under way, which may go either way */
	uint64_t stray_frames;	  /* could be had, yet are not managed, or hide from alloc_at */
	uint64_t told_twice_frames;    /* in two live blocks */
	uint64_t told_wrong_blocks;    /* misaligned, or of frames not managed */
	uint64_t refused_frees;	       /* of live blocks, when all of them were freed */
	uint64_t stats_off_frames;     /* free frames in its statistics, off what could be had */
	uint64_t occupancy_off_blocks; /* 2 MiB blocks of which it tells another number */
	uint64_t unfreed_frames;       /* short of all in the statistics, once all had been freed */
	char check[ERROR_TEXT_MAX];    /* what its own check objected to first; "": nothing */
};

/**
 * recover_file - bring the back end back, in this process, and look
 * @r: recovery_free() in any case
 * Return: 0, whatever was found; -EBUSY: its replay is still running; -EBADMSG, -EPROTONOSUPPORT: not such a
 * file, damaged, or of another version; -ENOTSUP: a back end that this build does not have, or not so; what
 * its recover() said; -ENOMEM.
 */
int recover_file(const char *path, struct recovery *r, struct error *err);
void recovery_free(struct recovery *r);

/** Is every frame accounted for, and every check passed? */
bool recovery_sound(const struct recovery *r);

#endif
