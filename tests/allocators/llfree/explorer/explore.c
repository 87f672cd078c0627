/* SPDX-License-Identifier: MIT */
#include "tests/allocators/llfree/explorer/explore.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/bits.h"
#include "tests/allocators/llfree/explorer/fiber.h"

#define MAX_STEPS  100000U
#define IDLE_TURNS 100U

struct thread {
	struct fiber *fiber;
	bool finished;
	/* The access it will make when it is let run. */
	enum atom_access access;
	const volatile void *word;
	uint64_t seen;	 /* a hash of all it has read so far */
	uint32_t writes; /* it has made */
	uint32_t waited; /* the others' writes when it last waited */
	uint32_t idle;	 /* how often in a row it has waited, and there were none */
};

/* A state on the current path from which a thread was let run. */
struct node {
	double interleavings; /* of the alternatives explored so far */
	uint64_t key;	      /* of the state */
	uint16_t preemptions; /* on the way here */
	uint8_t chosen, todo; /* todo: a bit per alternative not yet tried */
	uint8_t enabled;
};

/* Open addressing; the key 0 is free. */
struct states {
	struct {
		uint64_t key;
		double interleavings;
	} * slots;
	uint64_t mask, used;
};

struct explorer {
	const struct explore *e;
	struct explore_result *r;
	struct thread threads[EXPLORE_THREADS_MAX];
	struct node *nodes;
	uint32_t nr_nodes, max_nodes;
	struct states states;
	int running;	       /* thread in its coroutine, or -1 */
	bool calling;	       /* a callback is running, on the host's stack, */
	jmp_buf escape;	       /* which is how an assertion that fails in it gets out, */
	void (*watch)(void *); /* and which wants to hear of its writes */
	void *watch_arg;
	uint8_t *plan; /* to be replayed: the thread of each step */
	uint32_t nr_plan;
	int error;
};

/* What the hooks act on. There is one per process, and none between explorations. */
static struct explorer *explorer;

static uint64_t mix(uint64_t a, uint64_t b)
{
	__uint128_t product = (__uint128_t)(a ^ UINT64_C(0x9e3779b97f4a7c15)) *
			      (b ^ UINT64_C(0xd6e8feb86659fd93));

	return (uint64_t)product ^ (uint64_t)(product >> 64) ^ a;
}

/*
 * States
 */

static bool states_grow(struct states *s)
{
	uint64_t size = s->slots ? 2 * (s->mask + 1) : 4096;
	struct states bigger = {calloc(size, sizeof(*s->slots)), size - 1, s->used};

	if (!bigger.slots)
		return false;
	for (uint64_t i = 0; s->slots && i <= s->mask; i++) {
		uint64_t at = s->slots[i].key & bigger.mask;

		if (!s->slots[i].key)
			continue;
		while (bigger.slots[at].key)
			at = (at + 1) & bigger.mask;
		bigger.slots[at] = s->slots[i];
	}
	free(s->slots);
	*s = bigger;
	return true;
}

/* The slot of @key, or the free one where it belongs. Growing is up to the caller. */
static uint64_t states_find(const struct states *s, uint64_t key)
{
	uint64_t at = key & s->mask;

	while (s->slots[at].key && s->slots[at].key != key)
		at = (at + 1) & s->mask;
	return at;
}

static uint32_t writes_of_others(const struct explorer *x, unsigned int t)
{
	uint32_t n = 0;

	for (unsigned int i = 0; i < x->e->nr_threads; i++)
		n += i == t ? 0 : x->threads[i].writes;
	return n;
}

static bool is_enabled(const struct explorer *x, unsigned int t)
{
	const struct thread *th = &x->threads[t];

	return !th->finished && !(th->access == ATOM_WAIT && writes_of_others(x, t) == th->waited);
}

static uint64_t state_key(const struct explorer *x, int last, unsigned int preemptions)
{
	const struct explore *e = x->e;
	uint64_t h = 1;

	for (size_t i = 0; i < e->nr_memory; i++)
		h = XXH3_64bits_withSeed(e->memory[i].start, e->memory[i].bytes, h);
	for (unsigned int t = 0; t < e->nr_threads; t++) {
		h = mix(h, x->threads[t].seen);
		h = mix(h, writes_of_others(x, t) != x->threads[t].waited ? UINT32_MAX
									  : x->threads[t].idle);
	}
	if (e->preemptions != EXPLORE_UNBOUNDED)
		h = mix(h, ((uint64_t)last << 32) + preemptions);
	if (e->history)
		h = mix(h, e->history(e->arg));
	return h ? h : 1;
}

/*
 * Accesses
 */

static const struct explore_memory *memory_of(const struct explore *e, const volatile void *word)
{
	uintptr_t at = (uintptr_t)word;

	for (size_t i = 0; i < e->nr_memory; i++) {
		uintptr_t start = (uintptr_t)e->memory[i].start;

		if (at >= start && at < start + e->memory[i].bytes)
			return &e->memory[i];
	}
	return NULL;
}

/* Which word, and what an access finds there, for all but plain stores. */
static uint64_t observation(const struct explore *e, const struct thread *th)
{
	const struct explore_memory *m = memory_of(e, th->word);
	uint64_t value[2] = {0, 0};

	if (!m)
		return (uint64_t)th->access;

	uintptr_t start = (uintptr_t)m->start;
	uintptr_t at = (uintptr_t)th->word - start;

	at -= at % m->word_bytes;
	if (th->access != ATOM_STORE && th->access != ATOM_FLUSH)
		memcpy(value, (const void *)(start + at), m->word_bytes);
	return mix(mix(value[0], value[1]), ((uintptr_t)th->word << 3) + (uint64_t)th->access);
}

void atom_before(const volatile void *word, enum atom_access access)
{
	struct explorer *x = explorer;

	if (!x || x->running < 0)
		return;

	unsigned int t = (unsigned int)x->running;
	struct thread *th = &x->threads[t];

	th->access = access;
	th->word = word;
	fiber_leave(th->fiber);
	if (x->e->before)
		x->e->before(x->e->arg, t);
	th->seen = mix(th->seen, observation(x->e, th));
	if (access == ATOM_WAIT) {
		uint32_t writes = writes_of_others(x, t);

		th->idle = writes == th->waited ? th->idle + 1 : 0;
		th->waited = writes;
	}
}

static void trace_step(const struct explorer *x, unsigned int t, bool success)
{
	static const char *const names[] = {"load", "store", "cas",   "swap",
					    "add",  "flush", "fence", "wait"};
	const struct thread *th = &x->threads[t];
	const struct explore_memory *m = memory_of(x->e, th->word);
	uint64_t value = 0;

	printf("# %4" PRIu64 "  thread %u  %s", x->r->steps, t, names[th->access]);
	if (m) {
		size_t at = (uintptr_t)th->word - (uintptr_t)m->start;

		memcpy(&value, (const void *)(uintptr_t)th->word,
		       m->word_bytes < 8 ? m->word_bytes : 8);
		printf(" %s[%zu]", m->name, at / m->word_bytes);
		if (at % m->word_bytes)
			printf("+%zu", at % m->word_bytes);
		printf(" %s 0x%" PRIx64, th->access == ATOM_LOAD ? "is" : "now", value);
	}
	printf("%s\n", success ? "" : ", failed");
}

static void tell_watch(struct explorer *x)
{
	void (*watch)(void *) = x->watch;

	x->watch = NULL;
	watch(x->watch_arg);
	x->watch = watch;
}

void explore_watch(void (*function)(void *), void *arg)
{
	explorer->watch = function;
	explorer->watch_arg = arg;
}

void atom_after(const volatile void *word, enum atom_access access, bool success)
{
	struct explorer *x = explorer;
	bool wrote = success && (access == ATOM_STORE || access == ATOM_CAS ||
				 access == ATOM_SWAP || access == ATOM_ADD);

	if (!x)
		return;
	if (x->running < 0) {
		if (wrote && x->watch)
			tell_watch(x);
		return;
	}

	unsigned int t = (unsigned int)x->running;

	x->threads[t].writes += wrote;
	if (x->e->after)
		x->e->after(x->e->arg, t, word, access, success);
	if (x->e->trace)
		trace_step(x, t, success);
}

/*
 * Failures
 */

void explore_fail(const char *check, const char *fmt, ...)
{
	struct explore_result *r = explorer->r;
	va_list ap;

	if (r->failed)
		return;
	r->failed = true;
	snprintf(r->check, sizeof(r->check), "%s", check);
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
}

bool explore_failed(void)
{
	return explorer->r->failed;
}

/*
 * Assertions of the code under test are promises too: in this program they end the execution, not
 * the process. (glibc's assert() calls this.)
 */
void __assert_fail(const char *assertion, const char *file, unsigned int line, const char *function)
{
	const char *base = strrchr(file, '/');

	if (explorer && (explorer->running >= 0 || explorer->calling)) {
		explore_fail("assertion", "%s (%s:%u, %s)", assertion, base ? base + 1 : file, line,
			     function);
		/* It is never entered again. */
		while (explorer->running >= 0)
			fiber_leave(explorer->threads[explorer->running].fiber);
		longjmp(explorer->escape, 1);
	}
	fprintf(stderr, "%s:%u: %s: assertion failed: %s\n", file, line, function, assertion);
	abort();
}

/* The chosen threads, run-length coded; the last step that went wrong included. */
static void describe_schedule(const struct explorer *x)
{
	struct explore_result *r = x->r;
	size_t length = 0;

	r->schedule[0] = '\0';
	for (uint32_t i = 0, n; i < x->nr_nodes; i += n) {
		for (n = 1; i + n < x->nr_nodes && x->nodes[i + n].chosen == x->nodes[i].chosen;)
			n++;
		int written = snprintf(r->schedule + length, sizeof(r->schedule) - length,
				       "%s%u*%" PRIu32, i ? " " : "", x->nodes[i].chosen, n);

		length += (size_t)written;
		if (length >= sizeof(r->schedule))
			break;
	}
	r->preemptions = 0;
	for (uint32_t i = 1; i < x->nr_nodes; i++) {
		unsigned int before = x->nodes[i - 1].chosen;

		r->preemptions +=
			x->nodes[i].chosen != before && (x->nodes[i].enabled & 1U << before) != 0;
	}
}

/*
 * Executions
 */

static void thread_body(void *arg)
{
	struct explorer *x = explorer;
	unsigned int t = (unsigned int)(uintptr_t)arg;

	x->e->run(x->e->arg, t);
	x->threads[t].finished = true;
	for (;;)
		fiber_leave(x->threads[t].fiber);
}

static void enter(struct explorer *x, unsigned int t)
{
	x->running = (int)t;
	fiber_enter(x->threads[t].fiber);
	x->running = -1;
}

/* A callback on the host's stack; a failed assertion in it ends it. */
static void call(struct explorer *x, void (*function)(void *))
{
	if (!function)
		return;
	x->calling = true;
	if (!setjmp(x->escape))
		function(x->e->arg);
	x->calling = false;
	x->watch = NULL;
}

static void execution_begin(struct explorer *x)
{
	call(x, x->e->reset);
	for (unsigned int t = 0; t < x->e->nr_threads; t++) {
		struct thread *th = &x->threads[t];

		*th = (struct thread){.fiber = th->fiber};
		fiber_start(th->fiber, thread_body, (void *)(uintptr_t)t);
	}
	/* Up to the first access of each. */
	for (unsigned int t = 0; t < x->e->nr_threads; t++)
		enter(x, t);
}

static bool push_node(struct explorer *x, struct node node)
{
	if (x->nr_nodes == x->max_nodes) {
		uint32_t max = x->max_nodes ? 2 * x->max_nodes : 256;
		struct node *nodes = realloc(x->nodes, max * sizeof(*nodes));

		if (!nodes) {
			x->error = -ENOMEM;
			return false;
		}
		x->nodes = nodes;
		x->max_nodes = max;
	}
	x->nodes[x->nr_nodes++] = node;
	return true;
}

/* The preemptions used on the way to the state that follows node @i. */
static unsigned int preemptions_after(const struct explorer *x, uint32_t i, int last)
{
	const struct node *n = &x->nodes[i];

	if (last < 0 || n->chosen == last || !(n->enabled & 1U << last))
		return n->preemptions;
	return n->preemptions + 1U;
}

/* Which threads can go on; a bit for each. */
static unsigned int enabled_threads(const struct explorer *x)
{
	unsigned int enabled = 0, patient = 0;

	for (unsigned int t = 0; t < EXPLORE_THREADS_MAX && t < x->e->nr_threads; t++) {
		const struct thread *th = &x->threads[t];

		enabled |= (unsigned int)is_enabled(x, t) << t;
		patient |= (unsigned int)(!th->finished && th->idle < IDLE_TURNS) << t;
	}
	/* If nothing will come of waiting, it ends all the same: what it was for may have happened
	   before an earlier wait, in another loop, or the loop may know when to give up. */
	return enabled ? enabled : patient;
}

/* Whom to let run first, and whom later. Return: false: the replayed thread cannot go on. */
static bool choose(const struct explorer *x, struct node *node, int last)
{
	const struct explore *e = x->e;
	unsigned int todo = node->enabled;

	node->chosen = (uint8_t)trailing_zeros(todo);
	if (last >= 0 && (todo & 1U << last)) {
		node->chosen = (uint8_t)last;
		if (node->preemptions >= e->preemptions)
			todo = 0;
	}
	if (e->replay) {
		todo = 0;
		if (x->nr_nodes < x->nr_plan)
			node->chosen = x->plan[x->nr_nodes];
	}
	node->todo = (uint8_t)(todo & ~(1U << node->chosen));
	return node->enabled & 1U << node->chosen;
}

/*
 * A state never been in: judge it, and decide how to go on.
 * Return: false: the execution ends here, and @leaf is how many schedules end in it.
 */
static bool state_open(struct explorer *x, uint64_t key, int last, unsigned int preemptions,
		       double *leaf)
{
	const struct explore *e = x->e;
	struct node node = {.key = key, .preemptions = (uint16_t)preemptions};
	bool finished = true;

	*leaf = 1;
	call(x, e->state);
	if (explore_failed())
		return false;
	for (unsigned int t = 0; t < e->nr_threads; t++)
		finished = finished && x->threads[t].finished;
	if (finished) {
		call(x, e->end);
		return false;
	}
	node.enabled = (uint8_t)enabled_threads(x);
	if (!node.enabled) {
		explore_fail("deadlock", "every thread that has not finished waits for another");
		return false;
	}
	if (x->nr_nodes >= (e->max_steps ? e->max_steps : MAX_STEPS)) {
		explore_fail("livelock", "no end after %" PRIu32 " steps", x->nr_nodes);
		return false;
	}
	if (!choose(x, &node, last)) {
		x->error = -EINVAL;
		return false;
	}
	return push_node(x, node);
}

/*
 * Have we been here? With merging, a state is entered into the table.
 * Return: true: yes, and @interleavings schedules lead on from here.
 */
static bool state_known(struct explorer *x, uint64_t key, double *interleavings)
{
	struct states *s = &x->states;

	if (2 * (s->used + 1) > s->mask && !states_grow(s)) {
		x->error = -ENOMEM;
		return true;
	}

	uint64_t slot = states_find(s, key);

	if (s->slots[slot].key) {
		*interleavings = s->slots[slot].interleavings;
		x->r->merged++;
		return true;
	}
	s->slots[slot].key = key;
	s->slots[slot].interleavings = 1; /* if it is an end; else backtrack() finds out */
	s->used++;
	x->r->states++;
	return false;
}

/* Run along the nodes there are, then on to new ones. Return: the schedules that its end stands for. */
static double execution_run(struct explorer *x)
{
	const struct explore *e = x->e;
	struct explore_result *r = x->r;
	unsigned int preemptions = 0;
	int last = -1;
	double leaf = 0;

	execution_begin(x);
	for (uint32_t depth = 0; !explore_failed(); depth++) {
		if (depth == x->nr_nodes) {
			uint64_t key = e->merge ? state_key(x, last, preemptions) : 0;

			if ((e->merge && state_known(x, key, &leaf)) ||
			    !state_open(x, key, last, preemptions, &leaf))
				break;
		}

		unsigned int t = x->nodes[depth].chosen;

		preemptions = preemptions_after(x, depth, last);
		enter(x, t);
		last = (int)t;
		r->steps++;
		if (depth + 1 > r->longest)
			r->longest = depth + 1;
	}
	return leaf;
}

/* Account for the path's end and turn to the next alternative. Return: false: none is left. */
static bool backtrack(struct explorer *x, double interleavings)
{
	while (x->nr_nodes) {
		struct node *n = &x->nodes[x->nr_nodes - 1];

		n->interleavings += interleavings;
		if (n->todo) {
			n->chosen = (uint8_t)trailing_zeros(n->todo);
			n->todo &= (uint8_t)(n->todo - 1);
			return true;
		}
		interleavings = n->interleavings;
		if (x->e->merge)
			x->states.slots[states_find(&x->states, n->key)].interleavings =
				interleavings;
		x->nr_nodes--;
	}
	x->r->interleavings = interleavings;
	return false;
}

/* "0*5 1*2": into one thread number per step. */
static int parse_plan(struct explorer *x)
{
	const char *p = x->e->replay;

	x->plan = calloc(MAX_STEPS, 1);
	if (!x->plan)
		return -ENOMEM;
	while (*p) {
		unsigned int t, n;
		int length = 0;

		if (sscanf(p, " %u*%u%n", &t, &n, &length) != 2 || t >= x->e->nr_threads ||
		    n > MAX_STEPS - x->nr_plan)
			return -EINVAL;
		memset(x->plan + x->nr_plan, (int)t, n);
		x->nr_plan += n;
		p += length;
		p += strspn(p, " ");
	}
	return 0;
}

static void explore_all(struct explorer *x)
{
	const struct explore *e = x->e;
	struct explore_result *r = x->r;

	for (;;) {
		double interleavings = execution_run(x);

		r->executions++;
		if (x->error || explore_failed() || !backtrack(x, interleavings))
			break;
		if (e->max_executions && r->executions >= e->max_executions) {
			r->cut = true;
			for (uint32_t i = 0; i < x->nr_nodes; i++)
				r->interleavings += x->nodes[i].interleavings;
			break;
		}
	}
	if (explore_failed())
		describe_schedule(x);
}

int explore_run(const struct explore *e, struct explore_result *r)
{
	struct explorer x = {.e = e, .r = r, .running = -1};

	assert(!explorer && e->nr_threads >= 1 && e->nr_threads <= EXPLORE_THREADS_MAX);
	memset(r, 0, sizeof(*r));
	if (e->replay)
		x.error = parse_plan(&x);
	for (unsigned int t = 0; t < e->nr_threads; t++) {
		x.threads[t].fiber = fiber_create();
		if (!x.threads[t].fiber)
			x.error = -ENOMEM;
	}
	explorer = &x;
	if (!x.error && (!e->merge || states_grow(&x.states)))
		explore_all(&x);
	else if (!x.error)
		x.error = -ENOMEM;
	explorer = NULL;
	for (unsigned int t = 0; t < e->nr_threads; t++)
		fiber_destroy(x.threads[t].fiber);
	free(x.states.slots);
	free(x.nodes);
	free(x.plan);
	if (x.error)
		return x.error;
	return r->failed ? -EUCLEAN : 0;
}
