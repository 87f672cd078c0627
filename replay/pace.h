/* SPDX-License-Identifier: MIT */
/*
 * When an operation is due in timed replay: the trace's times, divided by the speed, from the moment at
 * which the first operation begins. Waiting for it, and how late what is due begins.
 *
 * Everything is in ticks of its clock. While a sample is taken, the schedule stands still: looking is
 * not replaying.
 *
 * Internal to the engine. Not thread-safe.
 */
#ifndef REPLAY_PACE_H
#define REPLAY_PACE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "replay/clock.h"
#include "replay/position.h"

/* An operation that begins more than that after it was due is told as late. */
#define PACE_LATE_NS UINT64_C(1000000)

struct pace {
	const struct stamp_clock *clock;
	struct run_position *at;	   /* shows that a long wait is no hang */
	const volatile sig_atomic_t *stop; /* ends all waiting; NULL: nothing does */
	double ticks;			   /* per nanosecond of trace time */
	uint64_t slack;			   /* so much time is enough to do something else in */
	uint64_t late_ticks;		   /* PACE_LATE_NS */
	bool begun;			   /* the first operation has been seen */
	bool apart;			   /* something was due at another time than that */
	bool stopped;
	uint64_t first_ns; /* trace time of the first operation */
	uint64_t origin;   /* stamp at which that was due */
	uint64_t cut;	   /* what the batch's stamps leave out: waiting */
	/* Of what was executed. */
	uint64_t ops, late_ops; /* allocations and frees; those late by more than PACE_LATE_NS */
	uint64_t last_due, last_at; /* stamps: the last operation was due, and was over */
};

/* What became of it, in nanoseconds of this host. */
struct pace_outcome {
	uint64_t ops, late_ops;
	uint64_t due_ns;    /* from the first operation to when the last was due */
	uint64_t behind_ns; /* so much later than due the last one was over */
	bool fell_behind;   /* pace_fell_behind(); never where the trace has all at one time */
};

/** @speed: above 0. @clock, @at and @stop must outlive it. */
void pace_init(struct pace *p, const struct stamp_clock *clock, double speed,
	       struct run_position *at, const volatile sig_atomic_t *stop);

/** The stamp at which what happens at @time_ns is due. The first call starts the schedule, at @now. */
static inline uint64_t pace_due(struct pace *p, uint64_t time_ns, uint64_t now)
{
	double ticks;

	if (!p->begun) {
		p->begun = true;
		p->first_ns = time_ns;
		p->origin = now;
		p->last_due = now;
		p->last_at = now;
	}
	p->apart |= time_ns != p->first_ns;
	ticks = (double)(time_ns - p->first_ns) * p->ticks;
	/* No stamp is ever that large, at whatever speed. */
	return ticks < 0x1p62 ? p->origin + (uint64_t)ticks : UINT64_C(1) << 62;
}

/** Is there time enough, at @now, to do something else before what is due at @due? */
static inline bool pace_leaves_time(const struct pace *p, uint64_t due, uint64_t now)
{
	return due > now && due - now > p->slack && !p->stopped;
}

/** An allocation or a free began at @now. Return: ticks by which it is late. */
static inline uint64_t pace_begin(struct pace *p, uint64_t due, uint64_t now)
{
	const uint64_t late = now > due ? now - due : 0;

	p->ops++;
	p->late_ops += late > p->late_ticks;
	return late;
}

/**
 * pace_wait - until @due: asleep while that is far, spinning when it is near
 * Return: the stamp at its end, not before @due, unless `stop` was set: no wait lasts any more then.
 */
uint64_t pace_wait(struct pace *p, uint64_t due);

/** The schedule has stood still for so many ticks. */
static inline void pace_pause(struct pace *p, uint64_t ticks)
{
	p->origin += ticks;
	p->last_due += ticks;
	p->last_at += ticks;
}

/**
 * pace_fell_behind - could a run not keep up?
 * If its last operation was over later than due by more than a hundredth of the time that all of it was due in,
 * and more than 10 ms; or if more than half of its operations were late by more than PACE_LATE_NS.
 */
bool pace_fell_behind(uint64_t due_ns, uint64_t behind_ns, uint64_t ops, uint64_t late_ops);

struct pace_outcome pace_outcome(const struct pace *p);

#endif
