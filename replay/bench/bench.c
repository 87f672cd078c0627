/* SPDX-License-Identifier: MIT */
#include "replay/bench/bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/format.h"
#include "replay/bench/rig.h"
#include "replay/clock.h"
#include "sim/gfp.h"
#include "sim/memory.h"

const char *const bench_kind_names[] = {"bulk", "repeat", "rand", "frag", NULL};

/* ---- which points make sense ---- */

static uint64_t blocks_of(const struct bench_point *p)
{
	return (p->memory_bytes >> PAGE_SHIFT_DEFAULT) >> p->order;
}

struct churn_plan bench_churn_plan(const struct bench_point *p)
{
	return (struct churn_plan){
		.blocks = blocks_of(p),
		.seed = p->seed,
		.cpus = p->cpus,
		.fill = p->fill,
		.rounds = p->rounds,
	};
}

uint64_t bench_fill_blocks(const struct bench_point *p)
{
	const struct churn_plan plan = bench_churn_plan(p);

	return churn_first_blocks(&plan);
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

static int check_memory(const struct bench_point *p, struct error *err)
{
	const struct churn_plan plan = bench_churn_plan(p);
	uint64_t blocks = blocks_of(p), used = bench_fill_blocks(p);
	char size[FORMAT_MAX];
	struct machine *m;
	int rc;

	rc = machine_from_memory(p->memory_bytes, p->cpus, &m, err);
	if (rc)
		return rc;
	machine_destroy(m);
	format_size(size, p->memory_bytes);
	if (p->memory_bytes >> PAGE_SHIFT_DEFAULT > ALLOCATOR_FRAMES_MAX)
		return error_set(err, EINVAL, "memory %s: at most 16T can be simulated", size);
	if (p->kind == BENCH_FRAG)
		return churn_check(&plan, err);
	if ((blocks - used) / 2 < p->threads)
		return error_set(err, EINVAL,
				 "memory %s: half of %" PRIu64 " free blocks of order %u is too "
				 "few for %u threads; raise memory",
				 size, blocks - used, p->order, p->threads);
	return 0;
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
		rc = check_memory(p, err);
	return rc ? rc : check_backend(p, err);
}

/* ---- the rig ---- */

int bench_rig_create(struct bench_rig *rig, const struct bench_point *point,
		     struct result_sink *sink, struct error *err)
{
	const uint32_t gfp =
		gfp_parse("GFP_HIGHUSER_MOVABLE", strlen("GFP_HIGHUSER_MOVABLE"), NULL);
	int rc;

	*rig = (struct bench_rig){
		.point = point,
		.err = err,
		.ops = point->spec->ops,
		.blocks = blocks_of(point),
	};
	tell_init(&rig->tell, sink, err);
	rc = machine_from_memory(point->memory_bytes, point->cpus, &rig->machine, err);
	if (!rc)
		rc = allocator_instance_create(point->spec, rig->machine, NULL, &rig->instance,
					       err);
	if (!rc && point->oracle && !(rig->ops->capabilities & ALLOCATOR_UNCHECKED))
		rc = memory_state_create(rig->machine, &rig->state, err);
	if (rc)
		return rc;
	rig->a = rig->instance->a;
	rig->request = (struct alloc_request){
		.hint_pfn = PFN_NONE,
		.gfp = gfp,
		.order = (uint8_t)point->order,
		.migratetype = (uint8_t)gfp_migratetype(gfp),
		.zone = (uint8_t)machine_highest_zone(rig->machine, 0, gfp),
	};
	return 0;
}

void bench_rig_destroy(struct bench_rig *rig)
{
	memory_state_destroy(rig->state);
	allocator_instance_destroy(rig->instance);
	machine_destroy(rig->machine);
}

static bool violation(struct bench_rig *rig, pfn_t pfn, const char *what)
{
	if (!rig->violations++)
		snprintf(rig->first_violation, sizeof(rig->first_violation),
			 "pfn %" PRIu64 ", order %u: %s", pfn, rig->point->order, what);
	return false;
}

bool bench_rig_hold(struct bench_rig *rig, pfn_t pfn)
{
	const unsigned int order = rig->point->order;

	if (!rig->state)
		return true;
	if (!is_aligned(pfn, UINT64_C(1) << order))
		return violation(rig, pfn, "misaligned");
	if (pfn >= machine_end(rig->machine) || machine_end(rig->machine) - pfn < UINT64_C(1)
											  << order)
		return violation(rig, pfn, "out of range");
	if (!memory_state_is_free(rig->state, pfn, order))
		return violation(rig, pfn, "handed out twice");
	memory_state_hold(rig->state, pfn, order, true);
	return true;
}

void bench_rig_release(struct bench_rig *rig, pfn_t pfn)
{
	if (rig->state)
		memory_state_release(rig->state, pfn, rig->point->order, true);
}

void bench_rig_refused_free(struct bench_rig *rig, pfn_t pfn, uint64_t times)
{
	violation(rig, pfn, "its free was refused");
	rig->violations += times - 1;
}

pfn_t bench_rig_alloc(struct bench_rig *rig, uint32_t cpu)
{
	pfn_t pfn;

	rig->request.cpu = (uint16_t)cpu;
	pfn = rig->ops->alloc(rig->a, &rig->request).pfn;
	return pfn != PFN_NONE && bench_rig_hold(rig, pfn) ? pfn : PFN_NONE;
}

void bench_rig_free(struct bench_rig *rig, pfn_t pfn, uint32_t cpu)
{
	rig->request.cpu = (uint16_t)cpu;
	bench_rig_release(rig, pfn);
	if (rig->ops->free(rig->a, pfn, &rig->request))
		bench_rig_refused_free(rig, pfn, 1);
}

pfn_t *bench_pfns(uint64_t n)
{
	pfn_t *pfns = malloc((size_t)max_u64(n, 1) * sizeof(*pfns));

	/* A page fault costs as much as many allocations. */
	for (uint64_t i = 0; pfns && i < n; i++)
		pfns[i] = PFN_NONE;
	return pfns;
}

/* ---- a run ---- */

/* Everything that was chosen: a new choice is a line here, and nothing anywhere else. */
static void state_settings(const struct bench_point *p, const struct machine *m, struct settings *s)
{
	const bool checked = !(p->spec->ops->capabilities & ALLOCATOR_UNCHECKED);

	settings_text(s, SETTING_QUESTION, "backing", backing_kind_names[BACKING_NONE],
		      backing_kind_names[BACKING_NONE]);
	settings_number(s, SETTING_QUESTION, "memory", p->memory_bytes, "bytes");
	settings_number(s, SETTING_QUESTION, "fill", p->fill, "%");
	if (p->kind == BENCH_FRAG)
		settings_number(s, SETTING_QUESTION, "rounds", p->rounds, "");
	settings_number(s, SETTING_CARE, "repetitions", p->repetitions, "");
	settings_bool(s, SETTING_CARE, "oracle", p->oracle && checked, true);
	tell_machine_facts(s, m);
}

int bench_send_run(const struct bench_point *p, uint64_t start_ns, struct result_sink *sink,
		   struct error *err)
{
	char mode[32], asked[64];
	struct settings settings = {0};
	struct error scratch = {0};
	struct tell_run run = {
		.spec = p->spec,
		.asked = asked,
		.mode = mode,
		.label = p->label,
		.seed = p->seed,
		.start_ns = start_ns,
		.threads = p->threads,
		.order = (int32_t)p->order,
	};
	struct machine *m;
	struct tell tell;
	int rc = machine_from_memory(p->memory_bytes, p->cpus, &m, err);

	if (rc)
		return rc;
	run.machine = m;
	snprintf(mode, sizeof(mode), "bench-%s", bench_kind_names[p->kind]);
	snprintf(asked, sizeof(asked), "bench %s", bench_kind_names[p->kind]);
	state_settings(p, m, &settings);
	tell_init(&tell, sink, err ? err : &scratch);
	rc = tell_run(&tell, &run, &settings);
	machine_destroy(m);
	return rc;
}

/* What the back end counted by itself. */
static int send_counters(struct bench_rig *rig)
{
	struct allocator_stats stats = {0};

	if (!rig->ops->stats || rig->ops->stats(rig->a, ALLOCATOR_ALL_ZONES, &stats))
		return 0;
	return tell_counters(&rig->tell, rig->point->spec, &stats, RESULT_AT_END);
}

static int tell_counts(struct bench_rig *rig)
{
	const struct {
		enum metric metric;
		uint64_t value;
	} counts[] = {
		{METRIC_ops, rig->allocs + rig->frees},
		{METRIC_allocs, rig->allocs},
		{METRIC_frees, rig->frees},
		{METRIC_alloc_failures, rig->refused},
		{METRIC_oracle_violations, rig->violations},
		{METRIC_metadata_bytes, rig->instance->metadata_bytes},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_SIZE(counts); i++)
		rc = tell_metric(&rig->tell, counts[i].metric, (double)counts[i].value);
	if (!rc && rig->refused)
		rc = tell_warning(&rig->tell,
				  "%" PRIu64 " of %" PRIu64 " allocations were refused though "
				  "enough memory was free",
				  rig->refused, rig->allocs);
	if (!rc && rig->violations)
		rc = tell_warning(&rig->tell, "%" PRIu64 " oracle violations; the first: %s",
				  rig->violations, rig->first_violation);
	if (!rc && rig->ops->check && rig->ops->check(rig->a, rig->err))
		rc = tell_warning(&rig->tell, "the back end's own check failed: %s",
				  rig->err->text);
	return rc;
}

int bench_run(const struct bench_point *point, struct result_sink *sink, struct error *err)
{
	struct error scratch = {0};
	struct bench_rig rig = {0};
	int rc;

	if (!err)
		err = &scratch;
	rc = bench_send_run(point, clock_wall_ns(), sink, err);
	if (!rc)
		rc = bench_rig_create(&rig, point, sink, err);
	if (!rc)
		rc = point->kind == BENCH_FRAG ? bench_frag(&rig) : bench_time(&rig);
	if (!rc)
		rc = tell_counts(&rig);
	if (!rc)
		rc = send_counters(&rig);
	if (!rc)
		rc = tell_done(&rig.tell);
	bench_rig_destroy(&rig);
	return rc;
}
