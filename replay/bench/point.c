/* SPDX-License-Identifier: MIT */
#include "replay/bench/point.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>

#include "base/bits.h"
#include "base/format.h"
#include "replay/memory_state.h"

const char *const bench_kind_names[] = {"bulk", "repeat", "rand", "frag", NULL};

int bench_machine(const struct bench_point *p, struct machine **m, struct error *err)
{
	if (p->machine)
		return machine_copy(p->machine, m, err);
	return machine_from_memory(p->memory_bytes, p->cpus, m, err);
}

struct block_count {
	uint64_t frames; /* of one block */
	uint64_t blocks;
};

static int count_blocks(void *arg, unsigned int zone, struct pfn_range range)
{
	struct block_count *count = arg;
	const pfn_t first = align_up(range.start, count->frames);

	(void)zone;
	if (first < range.end)
		count->blocks += (range.end - first) / count->frames;
	return 0;
}

uint64_t bench_blocks(const struct bench_point *p, const struct machine *m)
{
	struct block_count count = {.frames = UINT64_C(1) << p->order};

	machine_each_managed(m, count_blocks, &count);
	return count.blocks;
}

struct churn_plan bench_churn_plan(const struct bench_point *p, const struct machine *m)
{
	return (struct churn_plan){
		.blocks = bench_blocks(p, m),
		.seed = p->seed,
		.cpus = p->cpus,
		.fill = p->fill,
		.rounds = p->rounds,
	};
}

uint32_t bench_host_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (uint32_t)CPU_COUNT(&set);
}

static int check_threads(const struct bench_point *p, struct error *err)
{
	uint32_t host = bench_host_cpus();

	if (p->threads < 1)
		return error_set(err, EINVAL,
				 "threads 0: from 1 to %u, the CPUs of this host that "
				 "this process may use",
				 host);
	if (p->threads > p->cpus)
		return error_set(err, EINVAL,
				 "threads %u: the machine has %u cpus, and each thread is one of "
				 "them; raise cpus",
				 p->threads, p->cpus);
	if (p->kind == BENCH_FRAG && p->threads > 1)
		return error_set(err, EINVAL,
				 "threads %u: frag is played by one thread, so that it is exact; "
				 "its cpus are the machine's",
				 p->threads);
	if (p->threads > host)
		return error_set(err, EINVAL,
				 "threads %u: each is pinned to a CPU of its own, and this "
				 "process may use %u; lower threads",
				 p->threads, host);
	return 0;
}

struct footprint bench_footprint(const struct bench_point *p, const struct machine *m)
{
	const struct churn_plan plan = bench_churn_plan(p, m);
	uint64_t names = plan.blocks; /* while memory is filled; later each thread's share */
	struct footprint f = {.remedy = "lower memory", .host_bytes = p->host_bytes};
	char size[FORMAT_MAX];

	if (p->kind == BENCH_FRAG)
		names = churn_first_blocks(&plan);
	else if (!p->fill)
		names = p->kind == BENCH_REPEAT ? 0 : plan.blocks / 2;
	f.bytes = names * sizeof(pfn_t) + (p->oracle ? memory_state_bytes(m) : 0);
	snprintf(f.what, sizeof(f.what), "memory %s", format_size(size, p->memory_bytes));
	return f;
}

/* Has the machine @m, of the point, enough blocks? */
static int check_blocks(const struct bench_point *p, const struct machine *m, struct error *err)
{
	const struct churn_plan plan = bench_churn_plan(p, m);
	uint64_t used = churn_first_blocks(&plan);
	char size[FORMAT_MAX];

	format_size(size, p->memory_bytes);
	if (machine_end(m) - machine_start(m) > ALLOCATOR_FRAMES_MAX)
		return error_set(err, EINVAL, "memory %s: at most 16T can be simulated", size);
	if (p->kind == BENCH_FRAG)
		return churn_check(&plan, err);
	if ((plan.blocks - used) / 2 < p->threads)
		return error_set(err, EINVAL,
				 "memory %s: half of %" PRIu64 " free blocks of order %u is too "
				 "few for %u threads; raise memory",
				 size, plan.blocks - used, p->order, p->threads);
	return 0;
}

uint64_t bench_touched_at_once(const struct bench_point *p, const struct machine *m)
{
	const struct churn_plan plan = bench_churn_plan(p, m);
	const uint64_t used = churn_first_blocks(&plan);
	uint64_t blocks = (plan.blocks - used) / 2;

	if (p->touching == TOUCHING_NONE)
		return 0;
	if (p->kind == BENCH_FRAG)
		blocks = used;
	else if (p->kind == BENCH_REPEAT)
		blocks = min_u64(blocks, (uint64_t)BENCH_REPEAT_BLOCKS * p->threads);
	return blocks << p->order;
}

/* Real memory, and how it is touched. */
static int check_backing(const struct bench_point *p, struct error *err)
{
	if (p->backing == BACKING_FILE)
		return error_set(err, EINVAL,
				 "backing file: is the memory of one run, and each repetition is a "
				 "run of its own; choose memfd, which is shared memory as well");
	if (p->touching != TOUCHING_NONE && p->backing == BACKING_NONE)
		return error_set(err, EINVAL,
				 "touch %s: there is no memory to touch; choose a backing, such as "
				 "thp",
				 touching_names[p->touching]);
	return 0;
}

static int check_memory(const struct bench_point *p, struct error *err)
{
	struct machine *m;
	int rc = bench_machine(p, &m, err);

	if (rc)
		return rc;
	rc = check_blocks(p, m, err);
	if (!rc) {
		struct footprint f = bench_footprint(p, m);

		f.bytes += bench_touched_at_once(p, m) << m->page_shift;
		if (p->touching != TOUCHING_NONE)
			f.remedy = "lower memory, or touch nothing";
		rc = footprint_check(&f, err);
	}
	machine_destroy(m);
	return rc;
}

static int check_backend(const struct bench_point *p, struct error *err)
{
	const uint32_t capabilities = p->spec->ops->capabilities;

	if (capabilities & ALLOCATOR_ECHO)
		return error_set(err, ENOTSUP,
				 "%s: it places objects where they were recorded, and a benchmark "
				 "has no recording",
				 p->spec->text);
	if (p->kind == BENCH_FRAG && (capabilities & ALLOCATOR_UNCHECKED))
		return error_set(err, ENOTSUP,
				 "%s: it hands out frames twice, so nothing can be said about "
				 "fragmentation",
				 p->spec->text);
	if (p->threads > 1 && !(capabilities & ALLOCATOR_CONCURRENT))
		return error_set(err, ENOTSUP, "%s: it takes one thread at a time, so not %u",
				 p->spec->text, p->threads);
	return 0;
}

int bench_fits(const struct bench_point *p, struct error *err)
{
	int rc;

	if (p->order > MAX_ORDER)
		return error_set(err, EINVAL, "order %u: the largest is %d", p->order, MAX_ORDER);
	if (p->fill > 99 && p->kind != BENCH_FRAG) /* whose plan is checked below */
		return error_set(err, EINVAL, "fill %u: from 0 to 99 percent", p->fill);
	if (p->repetitions < 1 || p->repetitions > BENCH_REPETITIONS_MAX)
		return error_set(err, EINVAL, "repetitions %u: from 1 to %d", p->repetitions,
				 BENCH_REPETITIONS_MAX);
	if (p->kind == BENCH_FRAG && !p->oracle)
		return error_set(err, EINVAL,
				 "oracle off: frag reads fragmentation off the oracle's map, and "
				 "times nothing; leave it on");
	rc = check_threads(p, err);
	if (!rc)
		rc = check_backing(p, err);
	if (!rc)
		rc = check_memory(p, err);
	return rc ? rc : check_backend(p, err);
}
