/* SPDX-License-Identifier: MIT */
#include "allocators/llfree/magazine.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0) == 0;
}

void magazines_init(struct magazines *ms, struct magazine *list, const struct policy *policy,
		    unsigned int nr_cpus)
{
	*ms = (struct magazines){.list = list, .nr_cpus = nr_cpus};
	if (!list)
		return;
	ms->nr = policy->nr_classes * nr_cpus;
	for (unsigned int class = 0; class < policy->nr_classes; class ++) {
		if (policy->classes[class].slots != SLOTS_CONTEXT)
			ms->classes |= 1U << class;
	}
	ms->fences = !membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

/* Every thread of the process passes a full memory barrier, this one included. */
static void barrier(const struct magazines *ms)
{
	if (ms->fences) {
		atomic_thread_fence(memory_order_seq_cst);
		return;
	}
	/* A child of the process that registered may have to do so itself, after which it works. */
	while (!membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED))
		membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
}

void magazine_enter_slowly(const struct magazines *ms, struct magazine *m)
{
	do {
		/* Inside was said too early: the raider may be there. Nothing has been done, so
		   release orders nothing; but the raider waits for it. */
		atom32_store(&m->busy, MAGAZINE_WAITING, ATOM_RELEASE);
		while (atom32_load(&m->raided, ATOM_RELAXED) != 0)
			atom_wait();
	} while (!magazine_try_enter(ms, m));
}

int magazine_take_up(const struct magazines *ms, struct magazine *m, const struct lower *l,
		     uint64_t frame)
{
	uint64_t row = frame / ROW_FRAMES;
	child_t *entry = &l->children[row / BITFIELD_ROWS];
	int ret = -EAGAIN;

	magazine_enter(ms, m);
	/* Relaxed: only who is inside changes it. */
	if (atom64_load(&m->row, ATOM_RELAXED) == magazine_word(row, false)) {
		unsigned int flags = child_load(entry) & (CHILD_HUGE | CHILD_PARTIAL);

		/* What is huge, withheld or free is for others to judge. */
		if (!(flags & CHILD_HUGE) && !(flags && lower_is_withheld(l, frame, frame + 1)) &&
		    bitfield_hold_one(lower_bits(l, row / BITFIELD_ROWS),
				      (unsigned int)(frame % BITFIELD_FRAMES))) {
			/* As every free; see lower_put_any(). */
			persist_flush(l->persist, entry);
			persist_fence(l->persist);
			atom64_store(&m->row, magazine_word(row, true), ATOM_RELAXED);
			ret = 0;
		}
	}
	magazine_leave(m);
	return ret;
}

/* Raiders come one at a time, and after an owner that waits for the one before to leave. */
static void raid_begin(struct magazine *m)
{
	uint32_t expected;

	for (;;) {
		expected = 0;
		/* Relaxed: only out of courtesy. Acquire: what the raider before has done. */
		if (atom32_load(&m->busy, ATOM_RELAXED) != MAGAZINE_WAITING &&
		    atom32_cas(&m->raided, &expected, 1, ATOM_ACQUIRE))
			return;
		atom_wait();
	}
}

static unsigned int raid(struct magazine *m, const struct lower *l, uint64_t *row)
{
	unsigned int n = 0;

	/* Acquire: what the owner did inside. */
	while (atom32_load(&m->busy, ATOM_ACQUIRE) == MAGAZINE_INSIDE)
		atom_wait();
	*row = magazine_row(m);
	if (*row != LOWER_NONE)
		n = lower_unhold(l, *row);
	/* Nor is the row remembered: whoever drains wants frames to go where all go. Relaxed: the release
	   below. */
	atom64_store(&m->row, 0, ATOM_RELAXED);
	/* Release: all this, before the owner goes in again. */
	atom32_store(&m->raided, 0, ATOM_RELEASE);
	return n;
}

bool magazines_hold_any(const struct magazines *ms)
{
	for (unsigned int i = 0; i < ms->nr; i++) {
		if (magazine_row(&ms->list[i]) != LOWER_NONE)
			return true;
	}
	return false;
}

uint64_t magazines_raid(const struct magazines *ms, const struct lower *l,
			void (*credit)(void *arg, uint64_t row, unsigned int frames), void *arg)
{
	uint64_t frames = 0, row;

	/* All at once, in one order, so that one barrier will do and raiders cannot block each other. */
	for (unsigned int i = 0; i < ms->nr; i++)
		raid_begin(&ms->list[i]);
	barrier(ms);
	for (unsigned int i = 0; i < ms->nr; i++) {
		unsigned int n = raid(&ms->list[i], l, &row);

		if (n)
			credit(arg, row, n);
		frames += n;
	}
	return frames;
}

void magazines_forget(const struct magazines *ms)
{
	/* Relaxed: nothing else runs. */
	for (unsigned int i = 0; i < ms->nr; i++)
		atom64_store(&ms->list[i].row, 0, ATOM_RELAXED);
}
