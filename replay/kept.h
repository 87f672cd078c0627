/* SPDX-License-Identifier: MIT */
/*
 * A run's memory in one file that outlives its process: the frames, the back end's PERSISTENT metadata, the
 * journal of what the back end had told, and enough to make the same machine and the same back end again.
 *
 * Layout: head (identity with a checksum; words that change, each by one store), then, each on a multiple of
 * 2 MiB: frames (with holes: what was never touched costs no disk), journal (a byte a frame, on disk from
 * the start), metadata (allocators/metadata.h, to the end of the file, which grows with it). All of it in
 * the host's byte order. docs/recovery.md has it in full.
 *
 * The file is locked while it is open. Internal to replay/, but for what recover.h shows. Not thread-safe.
 */
#ifndef REPLAY_KEPT_H
#define REPLAY_KEPT_H

#include "allocators/registry.h"
#include "base/error.h"
#include "replay/journal.h"
#include "sim/machine.h"

struct kept;

enum kept_state {
	KEPT_MAKING, /* the back end has not been created yet */
	KEPT_PLAYING,
	KEPT_FINISHED, /* all events have been played */
	KEPT_STATES,
};

/* Whose memory it is. Strings read from a file belong to its struct kept. */
struct kept_identity {
	const char
		*allocator; /* name, or that and its options: what allocator_spec_parse() takes */
	const char *kernel; /* as in alloc_env */
	const char *trace;  /* digest */
	const char *build;  /* provenance_version() */
	const struct machine *machine;
	uint64_t list_seed;
};

/** Can this back end's memory be kept? PERSISTENT is what it takes, and blocks that stay where they are. */
bool kept_possible(const struct allocator_ops *ops);

/**
 * kept_create - a new file, KEPT_MAKING, mapped
 * @identity: read during the call
 * The caller owns @kept: kept_close(). Return: 0; -EEXIST; -ENOSPC; -ENOMEM; another errno of the host's;
 * nothing is left then.
 */
int kept_create(const char *path, const struct kept_identity *identity, struct kept **kept,
		struct error *err);

/**
 * kept_open - look at a file; nothing of it is changed
 * Return: 0; -EBUSY: a process has it and may still write; -EBADMSG: no such file, damaged or cut short;
 * -EPROTONOSUPPORT: of another version or byte order; -ENOMEM; or what open() said.
 */
int kept_open(const char *path, struct kept **kept, struct error *err);

/** Unmap, unlock, free. A file that was created and never got beyond KEPT_MAKING goes. NULL is allowed. */
void kept_close(struct kept *kept);

void kept_set_state(struct kept *kept, enum kept_state state);
enum kept_state kept_state(const struct kept *kept);

/** The machine too is the kept's, where it was opened. */
const struct kept_identity *kept_identity(const struct kept *kept);
const struct journal *kept_journal(const struct kept *kept);
/** Where the parts begin; the descriptor stays ours. */
struct metadata_within kept_metadata(const struct kept *kept);
uint64_t kept_frames_offset(const struct kept *kept);
int kept_fd(const struct kept *kept);

#endif
