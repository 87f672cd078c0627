/* SPDX-License-Identifier: MIT */
/*
 * What an allocation and a free cost: bulk, rand and repeat. Threads are pinned to distinct CPUs of the
 * host (replay/placement.h), meet at a barrier, and time their own loop; nothing else happens in it. Between such phases
 * the calling thread looks at what was handed out.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "base/random.h"
#include "replay/bench/kinds.h"
#include "replay/bench/seats.h"
#include "replay/clock.h"

/* A back end that is out of memory may take long to say so, each time. */
#define REFUSALS_MAX 16

#define REPEAT_PAIRS  (UINT64_C(1) << 20) /* in the loop without time stamps */
#define REPEAT_STAMPS (UINT64_C(1) << 18) /* in the one with */

/* repeat: memory that a thread uses in the loop that does, and the least pairs of it. */
#define REPEAT_TOUCHED_FRAMES (UINT64_C(1) << 18)
#define REPEAT_TOUCHES_LEAST  UINT64_C(256)

/* bulk, rand: where shares are allocated again and again, so much is used of all, and at least one share. */
#define BULK_TOUCHED_FRAMES (UINT64_C(1) << 18)

#define FILL_ALIVE_EVERY 65536 /* operations between two looks at the clock */

struct crew;

struct worker {
	struct crew *crew;
	struct alloc_request request; /* as this thread's cpu */
	uint32_t host_cpu;
	pfn_t *frames;	/* what it holds */
	uint64_t share; /* to be asked for */
	uint64_t got, asked, refused, bad_frees;
	pfn_t bad_free;		  /* the last of them */
	double phase_ns;	  /* mean time of an operation in the last phase */
	double alloc_ns, free_ns; /* repeat: by time stamps, their own cost taken off */
	struct random random;
	struct toucher *toucher; /* NULL: nothing is touched */
	void (*phase)(struct worker *w);
	pthread_t thread;
	bool pinned;
};

struct crew {
	struct bench_rig *rig;
	struct worker *workers;
	uint32_t n;
	_Atomic uint32_t waiting;
	double cas_ns;
	double alloc_ns, free_ns, pair_ns; /* averages over the threads */
};

/* ---- a phase ---- */

/* Spinning, so that all leave within a cache line's journey. */
static void wait_for_all(struct crew *crew)
{
	unsigned int spins = 0;

	atomic_fetch_add(&crew->waiting, 1);
	while (atomic_load_explicit(&crew->waiting, memory_order_acquire) < crew->n)
		if (++spins % 4096 == 0)
			sched_yield();
}

static void *work(void *arg)
{
	struct worker *w = arg;

	w->pinned = !placement_pin(w->host_cpu);
	wait_for_all(w->crew);
	w->phase(w);
	return NULL;
}

/* Have every worker do @phase at once. Return: 0, or -EAGAIN. */
static int run_phase(struct crew *crew, void (*phase)(struct worker *w))
{
	uint32_t started = 0;
	int rc = tell_alive(&crew->rig->tell), failed = 0;

	if (rc)
		return rc;
	atomic_store(&crew->waiting, 0);
	for (; started < crew->n; started++) {
		struct worker *w = &crew->workers[started];

		w->phase = phase;
		failed = pthread_create(&w->thread, NULL, work, w);
		if (failed)
			break;
	}
	/* Those that wait for one that will never come. */
	if (failed)
		atomic_fetch_add(&crew->waiting, crew->n);
	for (uint32_t i = 0; i < started; i++)
		pthread_join(crew->workers[i].thread, NULL);
	if (failed)
		return error_set(crew->rig->err, failed, "cannot start %u threads: %s", crew->n,
				 strerror(failed));
	return 0;
}

static const struct stamp_clock *clock_of(const struct worker *w)
{
	return &w->crew->rig->world->clock;
}

static double mean_ns(const struct worker *w, uint64_t ticks, uint64_t n)
{
	return n ? (double)clock_ns(clock_of(w), ticks) / (double)n : (double)NAN;
}

static double crew_mean(const struct crew *crew)
{
	double sum = 0;

	for (uint32_t i = 0; i < crew->n; i++)
		sum += crew->workers[i].phase_ns;
	return sum / crew->n;
}

/* ---- what is timed ---- */

static void allocate_share(struct worker *w)
{
	const struct allocator_ops *ops = w->crew->rig->ops;
	struct allocator *a = w->crew->rig->a;
	unsigned int in_a_row = 0;
	uint64_t asked = 0, got = 0, refused = 0, share = w->share,
		 started = clock_stamp(clock_of(w));
	pfn_t *frames = w->frames;

	while (asked < share) {
		pfn_t pfn = ops->alloc(a, &w->request).pfn;

		asked++;
		if (pfn == PFN_NONE) {
			refused++;
			if (++in_a_row == REFUSALS_MAX)
				break;
			continue;
		}
		in_a_row = 0;
		frames[got++] = pfn;
	}
	w->phase_ns = mean_ns(w, clock_stamp(clock_of(w)) - started, asked);
	w->asked += asked;
	w->refused += refused;
	w->got = got;
}

static void free_all(struct worker *w)
{
	const struct allocator_ops *ops = w->crew->rig->ops;
	struct allocator *a = w->crew->rig->a;
	uint64_t got = w->got, bad = 0, started = clock_stamp(clock_of(w));
	const pfn_t *frames = w->frames;

	for (uint64_t i = 0; i < got; i++) {
		if (ops->free(a, frames[i], &w->request)) {
			bad++;
			w->bad_free = frames[i];
		}
	}
	w->phase_ns = mean_ns(w, clock_stamp(clock_of(w)) - started, got);
	w->bad_frees += bad;
}

/* A block that could not be had again is no longer in the set. */
static void drop_block(struct worker *w, uint64_t i)
{
	w->refused++;
	w->frames[i] = w->frames[--w->got];
}

static void repeat_pairs(struct worker *w)
{
	const struct allocator_ops *ops = w->crew->rig->ops;
	struct allocator *a = w->crew->rig->a;
	uint64_t n = 0, i = 0, bad = 0, got = w->got, started = clock_stamp(clock_of(w));
	pfn_t *frames = w->frames;

	for (; got && n < REPEAT_PAIRS; n++) {
		bad += ops->free(a, frames[i], &w->request) != 0;
		frames[i] = ops->alloc(a, &w->request).pfn;
		if (frames[i] == PFN_NONE)
			break;
		i = i + 1 == got ? 0 : i + 1;
	}
	w->phase_ns = mean_ns(w, clock_stamp(clock_of(w)) - started, n);
	w->asked += min_u64(n + 1, REPEAT_PAIRS);
	w->bad_frees += bad;
	if (n < REPEAT_PAIRS && got)
		drop_block(w, i);
}

static void repeat_stamped(struct worker *w)
{
	const struct allocator_ops *ops = w->crew->rig->ops;
	struct allocator *a = w->crew->rig->a;
	uint64_t n = 0, i = 0, bad = 0, got = w->got, alloc_ticks = 0, free_ticks = 0, before;
	const double tick_ns = (double)clock_of(w)->multiplier / 4294967296.0;
	const double stamp_ns = clock_of(w)->overhead_ns;
	const enum clock_source source = clock_of(w)->source;
	pfn_t *frames = w->frames;

	before = clock_read(source);
	for (; got && n < REPEAT_STAMPS; n++) {
		uint64_t between, after;

		bad += ops->free(a, frames[i], &w->request) != 0;
		between = clock_read(source);
		frames[i] = ops->alloc(a, &w->request).pfn;
		after = clock_read(source);
		free_ticks += between - before;
		alloc_ticks += after - between;
		before = after;
		if (frames[i] == PFN_NONE)
			break;
		i = i + 1 == got ? 0 : i + 1;
	}
	w->asked += min_u64(n + 1, REPEAT_STAMPS);
	w->bad_frees += bad;
	if (n < REPEAT_STAMPS && got)
		drop_block(w, i);
	w->alloc_ns =
		n ? fmax(0, (double)alloc_ticks * tick_ns / (double)n - stamp_ns) : (double)NAN;
	w->free_ns = n ? fmax(0, (double)free_ticks * tick_ns / (double)n - stamp_ns) : (double)NAN;
}

/* A block is used as soon as it has been handed out, while what the last owner left of it is still in the cache. */
static void repeat_touched(struct worker *w)
{
	const struct allocator_ops *ops = w->crew->rig->ops;
	struct allocator *a = w->crew->rig->a;
	const uint64_t touches =
		max_u64(REPEAT_TOUCHED_FRAMES >> w->request.order, REPEAT_TOUCHES_LEAST);
	uint64_t n = 0, i = 0, bad = 0, got = w->got;
	pfn_t *frames = w->frames;

	for (; got && n < touches; n++) {
		bad += ops->free(a, frames[i], &w->request) != 0;
		frames[i] = ops->alloc(a, &w->request).pfn;
		if (frames[i] == PFN_NONE)
			break;
		toucher_use(w->toucher, frames[i]);
		i = i + 1 == got ? 0 : i + 1;
	}
	w->asked += min_u64(n + 1, touches);
	w->bad_frees += bad;
	if (n < touches && got)
		drop_block(w, i);
}

/* Everything a thread was given, in the order in which it was. */
static void touch_share(struct worker *w)
{
	for (uint64_t i = 0; i < w->got; i++)
		toucher_use(w->toucher, w->frames[i]);
}

/* ---- between the phases ---- */

/* Whether the host had memory for what was touched. */
static int touch_outcome(const struct crew *crew)
{
	for (uint32_t t = 0; t < crew->n; t++) {
		const struct toucher *by = crew->workers[t].toucher;

		if (by && by->failed)
			return error_set(crew->rig->err, -by->failed, "touching: %s", by->why.text);
	}
	return 0;
}

static int touch_phase(struct crew *crew, void (*phase)(struct worker *w))
{
	int rc = run_phase(crew, phase);

	return rc ? rc : touch_outcome(crew);
}

/* Everything the workers hold is theirs, or a violation, which is dropped. */
static void check_held(struct crew *crew)
{
	for (uint32_t t = 0; t < crew->n; t++) {
		struct worker *w = &crew->workers[t];
		uint64_t kept = 0;

		for (uint64_t i = 0; i < w->got; i++)
			if (bench_rig_hold(crew->rig, w->frames[i]))
				w->frames[kept++] = w->frames[i];
		w->got = kept;
	}
}

static void release_held(struct crew *crew)
{
	for (uint32_t t = 0; t < crew->n; t++)
		for (uint64_t i = 0; i < crew->workers[t].got; i++)
			bench_rig_release(crew->rig, crew->workers[t].frames[i]);
}

static void gather_counts(struct crew *crew)
{
	struct bench_rig *rig = crew->rig;

	for (uint32_t t = 0; t < crew->n; t++) {
		struct worker *w = &crew->workers[t];

		rig->allocs += w->asked;
		rig->refused += w->refused;
		if (w->bad_frees)
			bench_rig_refused_free(rig, w->bad_free, w->bad_frees);
	}
}

static void measure_cas(struct crew *crew)
{
	double ns = clock_cas_ns(&crew->rig->world->clock);

	if (!(crew->cas_ns <= ns))
		crew->cas_ns = ns;
}

/* ---- preparation ---- */

/*
 * The threads in turn take every block there is, then free them in random order until @target are
 * left: holes everywhere, as memory in use has them. One thread plays them all, so that every
 * repetition starts from the same state.
 */
static int fill(struct bench_rig *rig, uint64_t target)
{
	const uint32_t threads = rig->point->threads;
	uint64_t got = 0;
	uint32_t in_a_row = 0;
	struct random random;
	pfn_t *pfns;
	int rc = 0;

	if (!target)
		return 0;
	pfns = bench_pfns(rig->blocks);
	if (!pfns)
		return error_set(rig->err, ENOMEM, "no memory for %" PRIu64 " blocks", rig->blocks);
	for (uint64_t i = 0; !rc && got < rig->blocks && in_a_row < threads; i++) {
		pfns[got] = bench_rig_alloc(rig, (uint32_t)(i % threads));
		in_a_row = pfns[got] == PFN_NONE ? in_a_row + 1 : 0;
		got += pfns[got] != PFN_NONE;
		if (i % FILL_ALIVE_EVERY == 0)
			rc = tell_alive(&rig->tell);
	}
	if (!rc && got < target)
		rc = tell_warning(&rig->tell,
				  "memory could not be filled to %u %%: of %" PRIu64
				  " blocks it gave only %" PRIu64,
				  rig->point->fill, rig->blocks, got);
	random_seed(&random, rig->point->seed, UINT64_MAX);
	random_shuffle(&random, pfns, got);
	for (uint64_t i = 0; !rc && got > target; i++) {
		bench_rig_free(rig, pfns[--got], (uint32_t)(i % threads));
		if (i % FILL_ALIVE_EVERY == 0)
			rc = tell_alive(&rig->tell);
	}
	free(pfns);
	return rc;
}

static int create_crew(struct crew *crew, struct bench_rig *rig, const struct seat *seat,
		       uint64_t share)
{
	crew->rig = rig;
	crew->cas_ns = (double)NAN;
	crew->n = rig->point->threads;
	crew->workers = calloc(crew->n, sizeof(*crew->workers));
	if (!crew->workers)
		return error_set(rig->err, ENOMEM, "no memory for %u threads", crew->n);
	for (uint32_t t = 0; t < crew->n; t++) {
		struct worker *w = &crew->workers[t];

		w->crew = crew;
		w->request = bench_rig_request(rig, t);
		w->host_cpu = seat[t].cpu;
		w->share = share;
		w->frames = bench_pfns(share);
		if (!w->frames)
			return error_set(rig->err, ENOMEM, "no memory for %" PRIu64 " blocks",
					 share);
		if (rig->point->touching != TOUCHING_NONE) {
			w->toucher = toucher_create(&rig->touch);
			if (!w->toucher)
				return error_set(rig->err, ENOMEM, "no memory for %u threads",
						 crew->n);
		}
		random_seed(&w->random, rig->point->seed, t);
	}
	return 0;
}

static void destroy_crew(struct crew *crew)
{
	for (uint32_t t = 0; crew->workers && t < crew->n; t++) {
		free(crew->workers[t].frames);
		free(crew->workers[t].toucher);
	}
	free(crew->workers);
}

/* ---- the kinds ---- */

/* Allocate everyone's share and free it; @touches: and use it in between. */
static int bulk_once(struct crew *crew, bool touches)
{
	int rc = run_phase(crew, allocate_share);

	if (rc)
		return rc;
	crew->alloc_ns = crew_mean(crew);
	check_held(crew);
	if (touches)
		rc = touch_phase(crew, touch_share);
	if (rc)
		return rc;
	for (uint32_t t = 0; t < crew->n; t++) {
		struct worker *w = &crew->workers[t];

		if (crew->rig->point->kind == BENCH_RAND)
			random_shuffle(&w->random, w->frames, w->got);
		crew->rig->frees += w->got;
	}
	release_held(crew);
	rc = run_phase(crew, free_all);
	crew->free_ns = crew_mean(crew);
	return rc;
}

/* Caches are warm now, and memory is there: what that took does not count, unless it is all that was asked for. */
static void forget_touches(struct crew *crew)
{
	if (crew->rig->point->touching == TOUCHING_FIRST)
		return;
	for (uint32_t t = 0; t < crew->n; t++)
		if (crew->workers[t].toucher)
			toucher_forget_times(crew->workers[t].toucher);
}

static int bulk(struct crew *crew)
{
	const uint64_t least = crew->rig->point->least_blocks, share = crew->workers[0].share;
	const uint64_t timed = share < least && share > 0 ? div_round_up(least, share) : 1;
	const bool touches = crew->rig->point->touching != TOUCHING_NONE;
	const uint64_t frames = share * crew->n << crew->rig->point->order; /* of all shares */
	double alloc_ns = 0, free_ns = 0;
	int rc = 0;

	/* A few hundred operations are over before the caches of a thread that has done nothing yet
	   are warm. */
	if (share < least && share > 0)
		rc = bulk_once(crew, touches);
	forget_touches(crew);
	for (uint64_t i = 0; !rc && i < timed; i++) {
		rc = bulk_once(crew, touches && i * frames < BULK_TOUCHED_FRAMES);
		alloc_ns += crew->alloc_ns / (double)timed;
		free_ns += crew->free_ns / (double)timed;
		if (!rc)
			rc = tell_alive(&crew->rig->tell);
	}
	crew->alloc_ns = alloc_ns;
	crew->free_ns = free_ns;
	crew->pair_ns = alloc_ns + free_ns;
	return rc;
}

/* Each worker's first blocks, by the calling thread. */
static void take_set(struct crew *crew)
{
	for (uint32_t t = 0; t < crew->n; t++) {
		struct worker *w = &crew->workers[t];

		while (w->got < w->share) {
			pfn_t pfn = bench_rig_alloc(crew->rig, t);

			if (pfn == PFN_NONE)
				break;
			w->frames[w->got++] = pfn;
		}
	}
}

static int repeat_phase(struct crew *crew, void (*phase)(struct worker *w))
{
	int rc;

	/* Other blocks may come back than went. */
	release_held(crew);
	rc = run_phase(crew, phase);
	check_held(crew);
	return rc;
}

static int repeat(struct crew *crew)
{
	int rc;

	take_set(crew);
	rc = repeat_phase(crew, repeat_pairs);
	crew->pair_ns = crew_mean(crew);
	if (!rc)
		rc = repeat_phase(crew, repeat_stamped);
	if (!rc && crew->rig->point->touching != TOUCHING_NONE)
		rc = repeat_phase(crew, repeat_touched);
	if (!rc)
		rc = touch_outcome(crew);
	for (uint32_t t = 0; t < crew->n; t++) {
		crew->alloc_ns += crew->workers[t].alloc_ns / crew->n;
		crew->free_ns += crew->workers[t].free_ns / crew->n;
		/* Each pair began with a free. */
		crew->rig->frees += crew->workers[t].asked;
	}
	return rc;
}

static int tell_touches(struct crew *crew)
{
	struct toucher **touchers = calloc(crew->n, sizeof(struct toucher *));
	int rc;

	if (!touchers)
		return error_set(crew->rig->err, ENOMEM, "no memory for %u threads", crew->n);
	for (uint32_t t = 0; t < crew->n; t++)
		touchers[t] = crew->workers[t].toucher;
	rc = bench_touch_tell(&crew->rig->touch, touchers, crew->n, &crew->rig->tell);
	free(touchers);
	return rc;
}

static int tell(struct crew *crew)
{
	const struct {
		enum metric metric;
		double value;
	} values[] = {
		{METRIC_alloc_ns, crew->alloc_ns},
		{METRIC_free_ns, crew->free_ns},
		{METRIC_pair_ns, crew->pair_ns},
		{METRIC_alloc_cas, crew->alloc_ns / crew->cas_ns},
		{METRIC_free_cas, crew->free_ns / crew->cas_ns},
		{METRIC_pair_cas, crew->pair_ns / crew->cas_ns},
		{METRIC_cas_ns, crew->cas_ns},
	};
	int rc = 0;

	for (size_t i = 0; !rc && i < ARRAY_SIZE(values); i++)
		rc = tell_metric(&crew->rig->tell, values[i].metric, values[i].value);
	if (!rc)
		rc = tell_touches(crew);
	for (uint32_t t = 0; !rc && t < crew->n; t++)
		if (!crew->workers[t].pinned)
			rc = tell_warning(&crew->rig->tell,
					  "a thread could not be pinned to a CPU of the host: "
					  "the times are of threads that wander");
	return rc;
}

/* On the CPUs of @seat. */
static int measure(struct bench_rig *rig, const struct seat *seat)
{
	const struct bench_point *p = rig->point;
	const struct churn_plan plan = bench_churn_plan(p, rig->machine);
	const uint64_t used = churn_first_blocks(&plan);
	uint64_t share = (rig->blocks - used) / 2 / p->threads;
	struct crew crew = {0};
	int rc;

	if (p->kind == BENCH_REPEAT)
		share = min_u64(share, BENCH_REPEAT_BLOCKS);
	/* What this thread does meanwhile warms the first worker's caches, always. */
	placement_pin(seat[0].cpu);
	rc = fill(rig, used);
	if (!rc)
		rc = create_crew(&crew, rig, seat, share);
	if (!rc) {
		measure_cas(&crew);
		bench_touch_begin(&rig->touch);
		rc = p->kind == BENCH_REPEAT ? repeat(&crew) : bulk(&crew);
		measure_cas(&crew);
		gather_counts(&crew);
	}
	if (!rc)
		rc = tell(&crew);
	destroy_crew(&crew);
	return rc;
}

int bench_time(struct bench_rig *rig)
{
	struct affinity *before = affinity_save();
	struct bench_seats seats;
	int rc = bench_seats_choose(rig->point, rig->machine, &seats, rig->err);

	if (!rc && seats.note[0])
		rc = tell_warning(&rig->tell, "%s", seats.note);
	if (!rc)
		rc = measure(rig, seats.seat);
	bench_seats_release(&seats);
	affinity_restore(before);
	return rc;
}
