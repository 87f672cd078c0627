/* SPDX-License-Identifier: MIT */
/*
 * What an operation of llfree costs in atomic steps: compare-and-swaps, those that failed, other
 * locked instructions, and cache lines of shared metadata touched, counted by the hooks of
 * allocators/llfree/atom.h while real threads run. One line per benchmark, order, thread count and
 * operation, tab-separated, for script/measure-llfree.
 * Usage: atoms_per_op [SPEC...]
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "allocators/llfree/atom.h"
#include "allocators/registry.h"
#include "base/bits.h"
#include "sim/gfp.h"

#define MEMORY_BYTES (UINT64_C(2) << 30)
#define THREADS_MAX  2U
#define LINES_MAX    64U

enum mutant atom_mutant; /* never set here */

/* Of one thread and one kind of operation. */
struct counts {
	uint64_t ops, cas, failed, others, lines;
};

static _Thread_local struct counts *counting; /* NULL: nobody asks */
static _Thread_local uintptr_t lines[LINES_MAX];
static _Thread_local unsigned int nr_lines;

void atom_before(const volatile void *word, enum atom_access access)
{
	(void)word;
	(void)access;
}

static void touch(uintptr_t line)
{
	for (unsigned int i = 0; i < nr_lines; i++) {
		if (lines[i] == line)
			return;
	}
	if (nr_lines < LINES_MAX)
		lines[nr_lines++] = line;
}

void atom_after(const volatile void *word, enum atom_access access, bool success)
{
	if (!counting)
		return;
	if (word)
		touch((uintptr_t)word / 64);
	if (access == ATOM_CAS) {
		counting->cas++;
		counting->failed += !success;
	} else if (access == ATOM_SWAP || access == ATOM_ADD) {
		counting->others++;
	} else if (access == ATOM_WAIT) {
		sched_yield();
	}
}

static void begin(struct counts *c)
{
	nr_lines = 0;
	counting = c;
}

static void end(struct counts *c)
{
	counting = NULL;
	c->ops++;
	c->lines += nr_lines;
}

enum bench {
	BULK,
	REPEAT,
	RAND,
	BENCHES,
};

static const char *const bench_names[] = {"bulk", "repeat", "rand"};

struct worker {
	struct allocator_instance *in;
	pthread_barrier_t *barrier;
	enum bench bench;
	unsigned int order, cpu;
	size_t n; /* blocks */
	struct counts get, put;
	bool failed;
};

static pfn_t get(struct worker *w, const struct alloc_request *req)
{
	pfn_t pfn;

	begin(&w->get);
	pfn = w->in->ops->alloc(w->in->a, req).pfn;
	end(&w->get);
	w->failed |= pfn == PFN_NONE;
	return pfn;
}

static void put(struct worker *w, const struct alloc_request *req, pfn_t pfn)
{
	begin(&w->put);
	w->failed |= w->in->ops->free(w->in->a, pfn, req) != 0;
	end(&w->put);
}

static void shuffle(pfn_t *pfns, size_t n)
{
	uint64_t state = 1;

	for (size_t i = n; i > 1; i--) {
		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);

		size_t k = (state >> 33) % i;
		pfn_t pfn = pfns[i - 1];

		pfns[i - 1] = pfns[k];
		pfns[k] = pfn;
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	const struct alloc_request req = {
		.hint_pfn = PFN_NONE,
		.gfp = GFP_MOVABLE | GFP_HIGHMEM,
		.cpu = (uint16_t)w->cpu,
		.order = (uint8_t)w->order,
		.migratetype = MIGRATE_MOVABLE,
	};
	pfn_t *pfns = calloc(w->n, sizeof(*pfns));

	w->failed = !pfns;
	pthread_barrier_wait(w->barrier);
	if (!pfns)
		return NULL;
	if (w->bench == REPEAT) {
		pfns[0] = get(w, &req);
		for (size_t i = 1; i < w->n; i++) {
			put(w, &req, pfns[0]);
			pfns[0] = get(w, &req);
		}
		free(pfns);
		return NULL;
	}
	for (size_t i = 0; i < w->n; i++)
		pfns[i] = get(w, &req);
	if (w->bench == RAND)
		shuffle(pfns, w->n);
	pthread_barrier_wait(w->barrier);
	for (size_t i = 0; i < w->n; i++)
		put(w, &req, pfns[i]);
	free(pfns);
	return NULL;
}

static void add(struct counts *sum, const struct counts *c)
{
	sum->ops += c->ops;
	sum->cas += c->cas;
	sum->failed += c->failed;
	sum->others += c->others;
	sum->lines += c->lines;
}

static void tell(const struct worker *w, const char *spec, unsigned int threads, const char *op,
		 const struct counts *c)
{
	double n = (double)c->ops;

	printf("%s\t%s\t%u\t%u\t%s\t%.3f\t%.5f\t%.3f\t%.2f\n", spec, bench_names[w->bench],
	       w->order, threads, op, (double)c->cas / n, (double)c->failed / n,
	       (double)c->others / n, (double)c->lines / n);
}

static bool run(const struct allocator_spec *spec, enum bench bench, unsigned int order,
		unsigned int threads)
{
	struct counts gets = {0}, puts = {0};
	struct allocator_instance *in = NULL;
	struct worker workers[THREADS_MAX] = {{0}};
	pthread_t ids[THREADS_MAX];
	pthread_barrier_t barrier;
	struct machine *m;
	struct error err = {0};
	bool failed = machine_from_memory(MEMORY_BYTES, THREADS_MAX, &m, &err) != 0;

	if (failed || allocator_instance_create(spec, m, NULL, &in, &err) != 0) {
		fprintf(stderr, "atoms_per_op: %s\n", err.text);
		return false;
	}
	pthread_barrier_init(&barrier, NULL, threads);
	for (unsigned int i = 0; i < threads; i++) {
		workers[i] = (struct worker){
			.in = in,
			.barrier = &barrier,
			.bench = bench,
			.order = order,
			.cpu = i,
			.n = ((MEMORY_BYTES >> PAGE_SHIFT_DEFAULT) >> order) / 2 / threads,
		};
		failed |= pthread_create(&ids[i], NULL, work, &workers[i]) != 0;
	}
	for (unsigned int i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		failed |= workers[i].failed;
		add(&gets, &workers[i].get);
		add(&puts, &workers[i].put);
	}
	pthread_barrier_destroy(&barrier);
	allocator_instance_destroy(in);
	machine_destroy(m);
	if (failed) {
		fprintf(stderr, "atoms_per_op: %s: an operation failed\n", spec->text);
		return false;
	}
	tell(&workers[0], spec->text, threads, "get", &gets);
	tell(&workers[0], spec->text, threads, "put", &puts);
	return true;
}

int main(int argc, char **argv)
{
	static const char *const fallback[] = {"llfree", "llfree:rows=on"};
	static const unsigned int orders[] = {0, 3, 9};
	const char *const *specs = argc > 1 ? (const char *const *)argv + 1 : fallback;
	int n = argc > 1 ? argc - 1 : (int)ARRAY_SIZE(fallback);
	bool good = true;

	puts("spec\tbench\torder\tthreads\top\tcas\tfailed\tother\tlines");
	for (int i = 0; i < n && good; i++) {
		struct allocator_spec *spec;
		struct error err = {0};

		if (allocator_spec_parse(specs[i], &spec, &err) != 0) {
			fprintf(stderr, "atoms_per_op: %s\n", err.text);
			return 2;
		}
		for (unsigned int bench = 0; bench < BENCHES; bench++)
			for (size_t k = 0; k < ARRAY_SIZE(orders); k++)
				for (unsigned int threads = 1; threads <= THREADS_MAX; threads++)
					good = good && run(spec, bench, orders[k], threads);
		allocator_spec_destroy(spec);
	}
	return good ? 0 : 1;
}
