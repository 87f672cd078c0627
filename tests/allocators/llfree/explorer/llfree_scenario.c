/* SPDX-License-Identifier: MIT */
#include "tests/allocators/llfree/explorer/llfree_scenario.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "allocators/llfree/upper.h"
#include "base/bits.h"
#include "tests/allocators/llfree/explorer/model.h"

#define TREE_CHILDREN 4U
#define ARENA_BYTES   4096U
#define REGIONS_MAX   32U

enum mutant atom_mutant;

/* Memory as the environment hands it out: the same requests get the same places. */
struct arena {
	alignas(64) unsigned char bytes[ARENA_BYTES];
	size_t used;
};

struct instance {
	struct alloc_env env; /* first: meta() gets back from it to here */
	struct arena persistent, memory;
	struct upper u;
};

/* The list of frames that are withheld never changes here, and is all instances'. */
struct list {
	struct alloc_env env; /* first, as above */
	alignas(64) unsigned char bytes[4 * ARENA_BYTES];
	size_t used;
	struct withheld withheld;
};

struct run {
	const struct scenario *s;
	const struct scenario_limits *limits;
	struct scenario_count *count;

	/* live is what threads work on, initial what it is reset to; one crash's remains are laid
	   over [0], and over [1] those of a crash while [0] was being recovered. */
	struct list list;
	struct instance live, initial, after[2];
	struct explore_memory regions[REGIONS_MAX];
	size_t nr_regions;
	char names[REGIONS_MAX][12];

	struct model model, initial_model;
	struct {
		const struct scenario_op *next; /* has been called, but has taken no step */
		uint64_t frame;			/* of it */
		uint64_t got[SCENARIO_OPS_MAX];
	} threads[EXPLORE_THREADS_MAX];

	struct lines lines; /* of adr */
	unsigned char image[ARENA_BYTES];

	/* Crashes judged already: hashes of persistent bytes and claims. Open addressing. */
	uint64_t *judged;
	uint64_t judged_mask, nr_judged;
};

/* No rules: requests come with their class. */
static const struct policy policy = {
	.name = "explored",
	.nr_classes = 2,
	.classes = {{"small", SLOTS_CPUS}, {"huge", SLOTS_CPUS}},
	.perfect_from = 1,
	.perfect_to = 32,
	.good_from = 32,
	.good_to = 65,
};

/*
 * The line of text
 */

static bool parse_op(struct scenario_op *op, const char *word)
{
	int end = 0;

	*op = (struct scenario_op){.kind = word[0], .of = -1};
	switch (word[0]) {
	case 'd':
		return word[1] == '\0';
	case 'g':
		return sscanf(word, "g%u%n", &op->order, &end) == 1 && !word[end] &&
		       op->order <= MAX_ORDER;
	case 'a':
		return sscanf(word, "a%u@%u%n", &op->order, &op->frame, &end) == 2 && !word[end] &&
		       op->order <= MAX_ORDER;
	case 'x':
		return sscanf(word, "x%u@%u%n", &op->order, &op->frame, &end) == 2 && !word[end] &&
		       op->order <= MAX_ORDER;
	case 'f':
		if (sscanf(word, "f%u%n", &op->order, &end) != 1 || op->order > MAX_ORDER)
			return false;
		word += end;
		if (sscanf(word, "@%u%n", &op->frame, &end) == 1)
			return !word[end];
		if (sscanf(word, "#%d%n", &op->of, &end) != 1 || op->of < 0)
			return false;
		word += end;
		return !*word || (sscanf(word, "+%u%n", &op->frame, &end) == 1 && !word[end]);
	default:
		return false;
	}
}

static bool parse_option(struct scenario *s, const char *word)
{
	int end = 0;

	if (strcmp(word, "rows") == 0)
		s->rows = true;
	else if (strcmp(word, "adr") == 0)
		s->adr = true;
	else if (strcmp(word, "again") == 0)
		s->again = true;
	else if (strcmp(word, "follow") == 0)
		s->follow = true;
	else
		return sscanf(word, "warm=%u%n", &s->warm, &end) == 1 && !word[end];
	return true;
}

static bool parse_word(struct scenario *s, const char *word)
{
	if (!s->memory[0]) {
		size_t n = strlen(word);

		if ((n != 4 && n != 8) || strspn(word, "FAH1nhoxp") != n)
			return false;
		memcpy(s->memory, word, n + 1);
		return true;
	}
	if (strcmp(word, "|") == 0)
		return s->nr_threads++ < EXPLORE_THREADS_MAX;
	if (s->nr_threads == 0)
		return parse_option(s, word);

	unsigned int t = s->nr_threads - 1, i = s->nr_ops[t];

	if (i == SCENARIO_OPS_MAX || !parse_op(&s->ops[t][i], word))
		return false;
	s->nr_ops[t]++;
	return s->ops[t][i].of < (int)i;
}

int scenario_parse(struct scenario *s, const char *text, struct error *err)
{
	char copy[SCENARIO_TEXT_MAX], *at = copy, *word;

	memset(s, 0, sizeof(*s));
	snprintf(copy, sizeof(copy), "%s", text);
	while ((word = strsep(&at, " ")) != NULL) {
		if (*word && !parse_word(s, word))
			return error_set(err, EINVAL, "scenario '%s': '%s' means nothing here",
					 text, word);
	}
	if (s->nr_threads == 0)
		return error_set(err, EINVAL, "scenario '%s': nobody does anything", text);
	return 0;
}

void scenario_format(const struct scenario *s, char text[SCENARIO_TEXT_MAX])
{
	size_t n = 0;
#define ADD(...)                                                                                   \
	n += (size_t)snprintf(text + n, n < SCENARIO_TEXT_MAX ? SCENARIO_TEXT_MAX - n : 0,         \
			      __VA_ARGS__)
	ADD("%s%s%s%s%s", s->memory, s->rows ? " rows" : "", s->adr ? " adr" : "",
	    s->again ? " again" : "", s->follow ? " follow" : "");
	if (s->warm)
		ADD(" warm=%u", s->warm);
	for (unsigned int t = 0; t < s->nr_threads; t++) {
		ADD(" |");
		for (unsigned int i = 0; i < s->nr_ops[t]; i++) {
			const struct scenario_op *op = &s->ops[t][i];

			ADD(" %c", op->kind);
			if (op->kind != 'd')
				ADD("%u", op->order);
			if (op->of >= 0)
				ADD("#%d", op->of);
			if (op->of >= 0 && op->frame)
				ADD("+%u", op->frame);
			else if (op->of < 0 && op->kind != 'g' && op->kind != 'd')
				ADD("@%u", op->frame);
		}
	}
#undef ADD
}

/*
 * The initial state
 */

/* Which frames of a block are allocated, as rows, by its letter. */
static void letter_rows(char letter, uint64_t rows[BITFIELD_ROWS])
{
	uint64_t fill = letter == 'F' || letter == 'o' ? 0 : UINT64_MAX;

	for (unsigned int i = 0; i < BITFIELD_ROWS; i++) {
		rows[i] = fill;
		if (letter == 'h')
			rows[i] = UINT64_C(0x5555555555555555);
		if (letter == 'x' && i >= 4)
			rows[i] = 0;
		if (letter == 'p' && i < 4)
			rows[i] = 0;
	}
	if (letter == 'o')
		rows[0] = 1;
	if (letter == '1' || letter == 'n')
		rows[1] &= ~(UINT64_C(1) << 13);
	if (letter == 'n') {
		rows[2] &= ~UINT64_C(0xff);
		rows[4] = 0;
	}
}

static unsigned int nr_children(const struct scenario *s)
{
	return (unsigned int)strlen(s->memory);
}

void scenario_allocated(const struct scenario *s, uint64_t *frames)
{
	for (unsigned int child = 0; child < nr_children(s); child++) {
		uint64_t *rows = &frames[child * BITFIELD_ROWS];

		letter_rows(s->memory[child], rows);
		for (unsigned int i = 4; s->memory[child] == 'p' && i < BITFIELD_ROWS; i++)
			rows[i] = 0; /* they do not exist */
	}
}

/* Each free owns its frames: those of another, or free ones, are not to be freed. */
static bool op_sound(const struct scenario *s, unsigned int t, unsigned int i, uint64_t *allocated)
{
	const struct scenario_op *op = &s->ops[t][i];
	uint64_t n = UINT64_C(1) << op->order, frames = nr_children(s) * UINT64_C(512);

	if (!is_aligned(op->frame, n))
		return false;
	if (op->of < 0 && op->frame + n > frames)
		return false;
	if (op->kind != 'f')
		return true;
	if (op->of < 0) {
		if (!model_is(allocated, op->frame, op->order, true))
			return false;
		model_set(allocated, op->frame, op->order, false);
		return true;
	}

	const struct scenario_op *got = &s->ops[t][op->of];

	if ((got->kind != 'g' && got->kind != 'a') || op->frame + n > UINT64_C(1) << got->order)
		return false;
	for (unsigned int k = 0; k < i; k++) {
		const struct scenario_op *other = &s->ops[t][k];

		if (other->kind == 'f' && other->of == op->of &&
		    op->frame < other->frame + (UINT64_C(1) << other->order) &&
		    other->frame < op->frame + n)
			return false;
	}
	return true;
}

bool scenario_sound(const struct scenario *s)
{
	uint64_t allocated[MODEL_WORDS_MAX];

	scenario_allocated(s, allocated);
	for (unsigned int t = 0; t < s->nr_threads; t++) {
		for (unsigned int i = 0; i < s->nr_ops[t]; i++) {
			if (!op_sound(s, t, i, allocated))
				return false;
		}
	}
	return true;
}

static void *take_bytes(unsigned char *bytes, size_t size, size_t *used, size_t n, size_t align)
{
	size_t at = align_up(*used, max_u64(align, 64));

	if (at + n > size)
		return NULL;
	*used = align_up(at + n, 64);
	return bytes + at;
}

static void *instance_meta(const struct alloc_env *env, size_t bytes, size_t align,
			   enum meta_kind kind)
{
	/* The environment is the instance's first member. */
	struct instance *in = (struct instance *)(uintptr_t)env;
	struct arena *a = kind == META_PERSISTENT ? &in->persistent : &in->memory;

	return take_bytes(a->bytes, sizeof(a->bytes), &a->used, bytes, align);
}

static void *list_meta(const struct alloc_env *env, size_t bytes, size_t align, enum meta_kind kind)
{
	struct list *list = (struct list *)(uintptr_t)env;

	(void)kind;
	return take_bytes(list->bytes, sizeof(list->bytes), &list->used, bytes, align);
}

static int list_create(struct list *list, const struct scenario *s)
{
	struct withheld_edit edit;
	int ret;

	memset(list, 0, sizeof(*list));
	list->env.meta = list_meta;
	ret = withheld_create(&list->withheld, &list->env, PERSIST_EADR);
	if (ret == 0)
		ret = withheld_begin(&edit, &list->withheld, true);
	for (unsigned int child = 0; ret == 0 && child < nr_children(s); child++) {
		if (s->memory[child] == 'p')
			ret = withheld_change(
				&edit, (struct pfn_range){child * 512U + 256, child * 512U + 512},
				WITHHELD_ABSENT);
	}
	if (ret == 0)
		withheld_commit(&edit);
	return ret;
}

/* An instance that no state has been set up in. */
static int instance_create(struct instance *in, const struct run *run)
{
	const struct scenario *s = run->s;
	struct upper_config config = {
		.policy = &policy,
		.withheld = &run->list.withheld,
		.tree_children = TREE_CHILDREN,
		.nr_cpus = s->nr_threads,
		.last_frees = s->follow,
		.rows = s->rows,
		.persist = s->adr ? PERSIST_CLWB : PERSIST_EADR,
	};
	int ret;

	memset(in, 0, sizeof(*in));
	in->env.meta = instance_meta;
	ret = upper_create(&in->u, &in->env, 0, nr_children(s) * UINT64_C(512), &config);
	/* A barrier is no step here, so which one it is makes no difference; but this one is quick. */
	in->u.magazines.fences = true;
	return ret;
}

static void build(struct instance *in, const struct scenario *s)
{
	struct upper_build b;

	upper_build_begin(&b, &in->u);
	for (unsigned int child = 0; child < nr_children(s); child++) {
		uint64_t rows[BITFIELD_ROWS], base = child * UINT64_C(512);
		char letter = s->memory[child];
		unsigned int end = letter == 'p' ? 256 : 512;

		if (letter == 'H') {
			upper_build_used(&b, base, base + 512, 1, HUGE_ORDER);
			continue;
		}
		letter_rows(letter, rows);
		for (unsigned int i = 0; i < end; i++) {
			if (rows[i / 64] >> i % 64 & 1)
				upper_build_used(&b, base + i, base + i + 1, 0, 0);
			else
				upper_build_free(&b, base + i, base + i + 1);
		}
	}
	upper_build_end(&b);
}

static struct upper_request request(unsigned int thread, unsigned int order, bool huge)
{
	return (struct upper_request){
		.slot = thread,
		.cpu = (uint16_t)thread,
		.class = huge,
		.order = (uint8_t)order,
	};
}

static void add_region(struct run *run, const char *name, unsigned int number, void *start,
		       size_t bytes, unsigned int word_bytes)
{
	char *text = run->names[run->nr_regions];

	assert(run->nr_regions < REGIONS_MAX);
	snprintf(text, sizeof(run->names[0]), number == UINT_MAX ? "%s" : "%s %u", name, number);
	run->regions[run->nr_regions++] = (struct explore_memory){text, start, bytes, word_bytes};
}

/*
 * All that threads share, but for the counters of events, which nobody reads: states that differ in
 * nothing else are one.
 */
static void name_regions(struct run *run)
{
	struct upper *u = &run->live.u;
	uint64_t children = u->lower.nr_children;

	add_region(run, "row", UINT_MAX, u->lower.rows, children * BITFIELD_BYTES << run->s->rows,
		   run->s->rows ? 16 : 8);
	add_region(run, "child", UINT_MAX, u->lower.children, children * sizeof(child_t),
		   sizeof(child_t));
	add_region(run, "tree", UINT_MAX, u->trees.entries, u->trees.nr * sizeof(uint32_t),
		   sizeof(uint32_t));
	for (unsigned int i = 0; i <= locals_total(&u->locals); i++)
		add_region(run, "slot", i, &u->locals.slots[i], offsetof(struct local, events),
			   sizeof(uint64_t));
	for (unsigned int i = 0; u->magazines.list && i < u->magazines.nr; i++)
		add_region(run, "magazine", i, &u->magazines.list[i], sizeof(struct magazine),
			   sizeof(uint64_t));
}

static int prepare(struct run *run)
{
	const struct scenario *s = run->s;
	struct instance *instances[] = {&run->live, &run->after[0], &run->after[1]};
	struct model *m = &run->initial_model;
	bool split;

	if (list_create(&run->list, s) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(instances); i++) {
		if (instance_create(instances[i], run) < 0)
			return -ENOMEM;
	}
	build(&run->live, s);
	for (unsigned int t = 0; t < s->nr_threads; t++) {
		if (!(s->warm & 1U << t))
			continue;
		struct upper_request req = request(t, 0, false);
		uint64_t frame = upper_get(&run->live.u, req).frame;

		if (frame != LOWER_NONE && upper_put(&run->live.u, req, frame, &split) < 0)
			return -EINVAL;
	}
	name_regions(run);
	run->initial.persistent = run->live.persistent;
	run->initial.memory = run->live.memory;
	run->initial.u = run->live.u;

	m->nr_words = nr_children(s) * BITFIELD_ROWS;
	m->nr_threads = s->nr_threads;
	scenario_allocated(s, m->held);
	memset(m->exists, 0xff, sizeof(m->exists));
	for (unsigned int child = 0; child < nr_children(s); child++) {
		if (s->memory[child] == 'p')
			model_set(m->exists, child * UINT64_C(512) + 256, 8, false);
	}
	return 0;
}

/*
 * What threads do
 */

static void reset(void *arg)
{
	struct run *run = arg;

	memcpy(run->live.persistent.bytes, run->initial.persistent.bytes,
	       run->initial.persistent.used);
	memcpy(run->live.memory.bytes, run->initial.memory.bytes, run->initial.memory.used);
	run->live.u = run->initial.u;
	/* Events are written before they are read. */
	memcpy(&run->model, &run->initial_model, offsetof(struct model, events));
	memset(run->threads, 0, sizeof(run->threads));
	if (run->s->adr)
		lines_reset(&run->lines, run->live.persistent.bytes, run->live.persistent.used);
}

static void begin_if_called(struct run *run, unsigned int t)
{
	const struct scenario_op *op = run->threads[t].next;

	if (!op)
		return;
	run->threads[t].next = NULL;
	switch (op->kind) {
	case 'g':
		model_begin(&run->model, t, OP_GET, op->order, 0);
		break;
	case 'a':
		model_begin(&run->model, t, OP_GET_AT, op->order, op->frame);
		break;
	case 'f':
		model_begin(&run->model, t, OP_PUT, op->order, run->threads[t].frame);
		break;
	case 'x':
		model_begin(&run->model, t, OP_PUT_FREE, op->order, op->frame);
		break;
	default:
		model_begin(&run->model, t, OP_DRAIN, 0, 0);
	}
}

/* As a back end does it: when a huge frame had to be split, the request was for a huge one. */
static bool put(struct upper *u, unsigned int t, unsigned int order, uint64_t frame)
{
	bool split;
	int ret = upper_put(u, request(t, order, order >= HUGE_ORDER), frame, &split);

	if (ret == 0 && split)
		upper_credit(u, request(t, order, true), frame);
	return ret == 0;
}

static void run_op(struct run *run, unsigned int t, unsigned int i)
{
	const struct scenario_op *op = &run->s->ops[t][i];
	struct upper *u = &run->live.u;
	struct upper_request req = request(t, op->order, op->order >= HUGE_ORDER);
	uint64_t frame = op->frame, got = MODEL_NONE;
	bool ok = true;

	if (op->kind == 'f' && op->of >= 0) {
		if (run->threads[t].got[op->of] == MODEL_NONE)
			return;
		frame += run->threads[t].got[op->of];
	}
	run->threads[t].next = op;
	run->threads[t].frame = frame;
	switch (op->kind) {
	case 'g':
		got = upper_get(u, req).frame;
		got = got == LOWER_NONE ? MODEL_NONE : got;
		break;
	case 'a':
		ok = upper_get_at(u, req, frame) == 0;
		got = ok ? frame : MODEL_NONE;
		break;
	case 'f':
	case 'x':
		ok = put(u, t, op->order, frame);
		break;
	default:
		upper_drain(u);
	}
	begin_if_called(run, t); /* should it not have taken a step */
	run->threads[t].got[i] = got;
	model_return(&run->model, t, got, ok);
}

static void run_thread(void *arg, unsigned int t)
{
	struct run *run = arg;

	for (unsigned int i = 0; i < run->s->nr_ops[t]; i++)
		run_op(run, t, i);
}

static void before(void *arg, unsigned int t)
{
	begin_if_called(arg, t);
}

static void after(void *arg, unsigned int t, const volatile void *word, enum atom_access access,
		  bool success)
{
	struct run *run = arg;

	if (run->s->adr)
		lines_access(&run->lines, t, word, access, success);
}

static uint64_t history(void *arg)
{
	struct run *run = arg;
	uint64_t h = model_history(&run->model);

	return run->s->adr ? h ^ lines_hash(&run->lines) : h;
}

/*
 * Crashes
 */

/* From bits and children alone: a huge child wins over its bits. */
static void read_allocated(const struct upper *u, uint64_t *allocated)
{
	for (uint64_t child = 0; child < u->lower.nr_children; child++)
		lower_load(&u->lower, child, &allocated[child * BITFIELD_ROWS]);
}

static void recover_image(struct run *run, struct instance *in, const unsigned char *image)
{
	struct error err = {0};
	uint64_t allocated[MODEL_WORDS_MAX];

	memcpy(in->persistent.bytes, image, in->persistent.used);
	memset(in->memory.bytes, 0, in->memory.used);
	upper_recover(&in->u, 0);
	if (upper_check(&in->u, &err) < 0)
		explore_fail("recover", "what was recovered: %s", err.text);
	read_allocated(&in->u, allocated);
	model_crash(&run->model, allocated);
}

/* A step of the recovery of [0]: crash there as well. */
static void interrupt_recovery(void *arg)
{
	struct run *run = arg;
	struct instance *in = &run->after[0];

	if (memcmp(run->image, in->persistent.bytes, in->persistent.used) == 0)
		return;
	memcpy(run->image, in->persistent.bytes, in->persistent.used);
	run->count->again++;
	recover_image(run, &run->after[1], run->image);
}

/* Has this crash been judged before? If not, from now on it has. */
static bool judged_before(struct run *run, uint64_t key)
{
	uint64_t at;

	key = key ? key : 1;
	if (2 * (run->nr_judged + 1) > run->judged_mask) {
		uint64_t size = run->judged ? 2 * (run->judged_mask + 1) : 1024;
		uint64_t *bigger = calloc(size, sizeof(*bigger));

		if (!bigger)
			return false;
		for (uint64_t i = 0; run->judged && i <= run->judged_mask; i++) {
			for (at = run->judged[i] & (size - 1); run->judged[i] && bigger[at];)
				at = (at + 1) & (size - 1);
			if (run->judged[i])
				bigger[at] = run->judged[i];
		}
		free(run->judged);
		run->judged = bigger;
		run->judged_mask = size - 1;
	}
	for (at = key & run->judged_mask; run->judged[at]; at = (at + 1) & run->judged_mask) {
		if (run->judged[at] == key)
			return true;
	}
	run->judged[at] = key;
	run->nr_judged++;
	return false;
}

/*
 * Judge run->image. What is judged depends on the image and the model's claim only, so each pair is
 * recovered once.
 */
static void judge_crash(void *arg)
{
	struct run *run = arg;

	run->count->claims++;
	if (judged_before(run, XXH3_64bits_withSeed(run->image, run->live.persistent.used,
						    run->model.claim)))
		return;
	run->count->recovered++;
	if (run->s->again)
		explore_watch(interrupt_recovery, run);
	recover_image(run, &run->after[0], run->image);
	explore_watch(NULL, NULL);
}

static void state(void *arg)
{
	struct run *run = arg;

	if (run->s->adr) {
		lines_crash(&run->lines, run->image, run->limits->max_images, judge_crash, run,
			    &run->count->crash);
		return;
	}
	memcpy(run->image, run->live.persistent.bytes, run->live.persistent.used);
	judge_crash(run);
}

/*
 * Ends
 */

static void check_instance(const struct upper *u, const char *when)
{
	struct error err = {0};

	if (upper_check(u, &err) < 0)
		explore_fail("check", "%s: %s", when, err.text);
}

static void end(void *arg)
{
	struct run *run = arg;
	struct upper *u = &run->live.u;
	struct upper_counts counts = {0};
	uint64_t allocated[MODEL_WORDS_MAX], free_frames = 0;

	run->count->ends++;
	if (run->model.undefined)
		return;
	check_instance(u, "at the end");
	upper_count(u, &counts);
	for (unsigned int i = 0; i < run->model.nr_words; i++)
		free_frames += (unsigned int)__builtin_popcountll(run->model.exists[i] &
								  ~run->model.held[i]);
	if (counts.free_frames + counts.held_frames != free_frames)
		explore_fail("end", "%" PRIu64 " frames are free, %" PRIu64 " are counted",
			     free_frames, counts.free_frames + counts.held_frames);
	upper_drain(u);
	check_instance(u, "drained");
	read_allocated(u, allocated);
	model_end(&run->model, allocated);
}

static void add_result(struct scenario_count *count, const struct explore_result *r)
{
	count->scenarios++;
	count->cut += r->cut;
	count->executions += r->executions;
	count->steps += r->steps;
	count->states += r->states;
	count->interleavings += r->interleavings;
}

int scenario_explore(const struct scenario *s, const struct scenario_limits *limits,
		     struct scenario_count *count, struct explore_result *r)
{
	struct run *run = aligned_alloc(64, align_up(sizeof(*run), 64));
	struct scenario_count ignored = {0};

	if (!run)
		return -ENOMEM;
	memset(run, 0, offsetof(struct run, image));
	run->s = s;
	run->limits = limits;
	run->count = count ? count : &ignored;
	run->judged = NULL;
	run->judged_mask = run->nr_judged = 0;

	int ret = prepare(run);

	if (ret == 0) {
		const struct explore e = {
			.nr_threads = s->nr_threads,
			.preemptions = limits->preemptions,
			.merge = !limits->no_merge && !limits->replay,
			.max_executions = limits->max_executions,
			.memory = run->regions,
			.nr_memory = run->nr_regions,
			.arg = run,
			.reset = reset,
			.run = run_thread,
			.before = before,
			.after = s->adr ? after : NULL,
			.state = state,
			.end = end,
			.history = history,
			.replay = limits->replay,
			.trace = limits->trace,
		};

		ret = explore_run(&e, r);
		add_result(run->count, r);
	}
	free(run->judged);
	free(run);
	return ret;
}
