/* SPDX-License-Identifier: MIT */
/*
 * The score sheet of fidelity: how often a prediction was right, by class of choice and by order,
 * migratetype and tenth of the trace, and why it was wrong. And the baseline a prediction has to beat:
 * every cpu hands out what it freed last.
 *
 * Not thread-safe.
 */
#ifndef REPLAY_FIDELITY_JUDGE_H
#define REPLAY_FIDELITY_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "results/result.h"
#include "sim/machine.h"

#define JUDGE_CAUSES 40
#define JUDGE_TENTHS 10

struct tally {
	uint64_t choices, correct;
};

struct judge_class {
	struct tally total, order[NR_ORDERS], type[MIGRATE_TYPES], tenth[JUDGE_TENTHS];
	struct {
		const char *text; /* static, by its address */
		uint64_t n;
	} cause[JUDGE_CAUSES]; /* the last one takes what does not fit */
};

struct judge {
	struct judge_class of[ACCURACY_CLASSES];
};

/* What a choice was about. */
struct choice {
	uint8_t order, migratetype;
	uint8_t tenth; /* 0..9 */
	bool correct;
	const char *cause; /* static words, or NULL; ignored if correct */
};

/** Enter a choice into one class. */
void judge_enter(struct judge *judge, enum accuracy_class c, const struct choice *choice);

/** Share that was correct; NaN without choices. */
double judge_accuracy(const struct judge *judge, enum accuracy_class c);

/** Send everything as RESULT_ACCURACY records; causes sorted, the most frequent first. */
int judge_send(const struct judge *judge, enum accuracy_variant variant, struct result_sink *sink,
	       struct error *err);

/* ---- the baseline ---- */

struct lifo;

/** Return: 0 or -ENOMEM. */
int lifo_create(const struct machine *m, struct lifo **lifo, struct error *err);
void lifo_destroy(struct lifo *lifo); /* NULL is allowed */

/** What @cpu freed last of this order and has not been handed out since; PFN_NONE: nothing. */
pfn_t lifo_predict(struct lifo *lifo, unsigned int cpu, unsigned int order);
void lifo_placed(struct lifo *lifo, pfn_t pfn, unsigned int order);
/** Return: 0 or -ENOMEM. */
int lifo_freed(struct lifo *lifo, unsigned int cpu, pfn_t pfn, unsigned int order);

#endif
