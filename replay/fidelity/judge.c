/* SPDX-License-Identifier: MIT */
#include "replay/fidelity/judge.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"

static void tally(struct tally *t, bool correct)
{
	t->choices++;
	t->correct += correct;
}

static void enter_cause(struct judge_class *c, const char *text)
{
	unsigned int i = 0;

	if (!text)
		text = "unexplained";
	while (i < JUDGE_CAUSES - 1 && c->cause[i].text && c->cause[i].text != text)
		i++;
	c->cause[i].text = i == JUDGE_CAUSES - 1 ? "other" : text;
	c->cause[i].n++;
}

void judge_enter(struct judge *judge, enum accuracy_class class_of, const struct choice *choice)
{
	struct judge_class *c = &judge->of[class_of];

	tally(&c->total, choice->correct);
	if (choice->order < NR_ORDERS)
		tally(&c->order[choice->order], choice->correct);
	if (choice->migratetype < MIGRATE_TYPES)
		tally(&c->type[choice->migratetype], choice->correct);
	tally(&c->tenth[choice->tenth], choice->correct);
	if (!choice->correct)
		enter_cause(c, choice->cause);
}

double judge_accuracy(const struct judge *judge, enum accuracy_class c)
{
	const struct tally *t = &judge->of[c].total;

	return t->choices ? (double)t->correct / (double)t->choices : NAN;
}

/* ---- telling ---- */

struct sender {
	struct result_sink *sink;
	struct error *err;
	struct result_record record;
};

static int send_tallies(struct sender *s, enum accuracy_dimension dimension, const struct tally *t,
			unsigned int n)
{
	int rc = 0;

	for (unsigned int i = 0; !rc && i < n; i++) {
		if (!t[i].choices)
			continue;
		s->record.accuracy.dimension = dimension;
		s->record.accuracy.key = i;
		s->record.accuracy.choices = t[i].choices;
		s->record.accuracy.correct = t[i].correct;
		rc = s->sink->take(s->sink, &s->record, s->err);
	}
	return rc;
}

static int send_causes(struct sender *s, const struct judge_class *c)
{
	bool sent[JUDGE_CAUSES] = {false};
	int rc = 0;

	s->record.accuracy.dimension = ACCURACY_CAUSE;
	s->record.accuracy.correct = 0;
	for (uint32_t rank = 0; !rc && rank < JUDGE_CAUSES; rank++) {
		unsigned int best = JUDGE_CAUSES;

		for (unsigned int i = 0; i < JUDGE_CAUSES; i++) {
			if (c->cause[i].n && !sent[i] &&
			    (best == JUDGE_CAUSES || c->cause[i].n > c->cause[best].n))
				best = i;
		}
		if (best == JUDGE_CAUSES)
			break;
		sent[best] = true;
		s->record.accuracy.key = rank;
		s->record.accuracy.cause = c->cause[best].text;
		s->record.accuracy.choices = c->cause[best].n;
		rc = s->sink->take(s->sink, &s->record, s->err);
	}
	s->record.accuracy.cause = NULL;
	return rc;
}

int judge_send(const struct judge *judge, enum accuracy_variant variant, struct result_sink *sink,
	       struct error *err)
{
	struct sender s = {
		.sink = sink,
		.err = err,
		.record = {.kind = RESULT_ACCURACY, .accuracy = {.variant = variant}},
	};
	int rc = 0;

	for (unsigned int i = 0; !rc && i < ACCURACY_CLASSES; i++) {
		const struct judge_class *c = &judge->of[i];

		s.record.accuracy.class_of = i;
		rc = send_tallies(&s, ACCURACY_TOTAL, &c->total, 1);
		if (!rc)
			rc = send_tallies(&s, ACCURACY_ORDER, c->order, NR_ORDERS);
		if (!rc)
			rc = send_tallies(&s, ACCURACY_MIGRATETYPE, c->type, MIGRATE_TYPES);
		if (!rc)
			rc = send_tallies(&s, ACCURACY_TENTH, c->tenth, JUDGE_TENTHS);
		/* The baseline has no state that could explain anything. */
		if (!rc && variant != ACCURACY_LIFO)
			rc = send_causes(&s, c);
	}
	return rc;
}

/* ---- the baseline ---- */

struct stack {
	uint32_t *frame;
	size_t n, room;
};

struct lifo {
	const struct machine *machine;
	uint64_t *free;	      /* bit per frame: freed and not handed out since */
	struct stack stack[]; /* [cpu][order] */
};

int lifo_create(const struct machine *m, struct lifo **out, struct error *err)
{
	size_t stacks = (size_t)m->nr_cpus * NR_ORDERS;
	struct lifo *lifo = calloc(1, sizeof(*lifo) + stacks * sizeof(lifo->stack[0]));
	uint64_t frames = machine_end(m) - machine_start(m);

	if (lifo)
		lifo->free = calloc(div_round_up(frames, 64), sizeof(uint64_t));
	if (!lifo || !lifo->free) {
		free(lifo);
		return error_set(err, ENOMEM, "no memory for the baseline of %llu frames",
				 (unsigned long long)frames);
	}
	lifo->machine = m;
	*out = lifo;
	return 0;
}

void lifo_destroy(struct lifo *lifo)
{
	if (!lifo)
		return;
	for (size_t i = 0; i < (size_t)lifo->machine->nr_cpus * NR_ORDERS; i++)
		free(lifo->stack[i].frame);
	free(lifo->free);
	free(lifo);
}

static uint64_t frame_of(const struct lifo *lifo, pfn_t pfn)
{
	return pfn - machine_start(lifo->machine);
}

pfn_t lifo_predict(struct lifo *lifo, unsigned int cpu, unsigned int order)
{
	struct stack *s = &lifo->stack[cpu * NR_ORDERS + order];

	while (s->n) {
		uint64_t frame = s->frame[s->n - 1];

		if (lifo->free[frame / 64] >> frame % 64 & 1)
			return machine_start(lifo->machine) + frame;
		s->n--;
	}
	return PFN_NONE;
}

static void set_free(struct lifo *lifo, pfn_t pfn, unsigned int order, bool free)
{
	uint64_t first = frame_of(lifo, pfn);

	for (uint64_t i = first; i < first + (UINT64_C(1) << order); i++) {
		uint64_t bit = UINT64_C(1) << i % 64;

		lifo->free[i / 64] = free ? lifo->free[i / 64] | bit : lifo->free[i / 64] & ~bit;
	}
}

void lifo_placed(struct lifo *lifo, pfn_t pfn, unsigned int order)
{
	set_free(lifo, pfn, order, false);
}

int lifo_freed(struct lifo *lifo, unsigned int cpu, pfn_t pfn, unsigned int order)
{
	struct stack *s = &lifo->stack[cpu * NR_ORDERS + order];

	set_free(lifo, pfn, order, true);
	if (s->n == s->room) {
		size_t room = s->room ? 2 * s->room : 1024;
		uint32_t *frame = realloc(s->frame, room * sizeof(*frame));

		if (!frame)
			return -ENOMEM;
		s->frame = frame;
		s->room = room;
	}
	s->frame[s->n++] = (uint32_t)frame_of(lifo, pfn);
	return 0;
}
