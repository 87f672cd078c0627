/* SPDX-License-Identifier: MIT */
#include "replay/pace.h"

#include <errno.h>

#include "base/bits.h"

/* Asleep until so long before: waking up takes some of it, and the rest is spun. */
#define SPIN_NS UINT64_C(200000)

/* Never asleep for longer, so that whoever watches sees it live, and it sees that it is to stop. */
#define NAP_NS UINT64_C(100000000)

/* Planning a batch, or accounting one, takes less. */
#define SLACK_NS 20000.0

#define BEHIND_LEAST_NS UINT64_C(10000000)

void pace_init(struct pace *p, const struct stamp_clock *clock, double speed,
	       struct run_position *at, const volatile sig_atomic_t *stop)
{
	/* 32.32 fixed point, the other way round. */
	const double ticks_per_ns = 0x1p32 / (double)clock->multiplier;

	*p = (struct pace){
		.clock = clock,
		.at = at,
		.stop = stop,
		.ticks = ticks_per_ns / speed,
		.slack = (uint64_t)(ticks_per_ns * SLACK_NS),
		.late_ticks = (uint64_t)(ticks_per_ns * (double)PACE_LATE_NS),
	};
}

/* Signals may end it early. */
static void nap(uint64_t ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (long)ns;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static inline void relax(void)
{
#if defined(__x86_64__)
	_mm_pause();
#endif
}

uint64_t pace_wait(struct pace *p, uint64_t due)
{
	uint64_t now;

	while ((now = clock_stamp(p->clock)) < due && !p->stopped) {
		const uint64_t left_ns = clock_ns(p->clock, due - now);

		if (left_ns <= SPIN_NS) {
			relax();
			continue;
		}
		if (p->stop && *p->stop) {
			p->stopped = true;
			break;
		}
		nap(min_u64(left_ns - SPIN_NS, NAP_NS));
		p->at->naps++;
	}
	return now;
}

bool pace_fell_behind(uint64_t due_ns, uint64_t behind_ns, uint64_t ops, uint64_t late_ops)
{
	return behind_ns > max_u64(due_ns / 100, BEHIND_LEAST_NS) || late_ops > ops / 2;
}

struct pace_outcome pace_outcome(const struct pace *p)
{
	struct pace_outcome o = {.ops = p->ops, .late_ops = p->late_ops};

	if (!p->begun)
		return o;
	o.due_ns = clock_ns(p->clock, p->last_due - p->origin);
	if (p->last_at > p->last_due)
		o.behind_ns = clock_ns(p->clock, p->last_at - p->last_due);
	o.fell_behind = p->apart && pace_fell_behind(o.due_ns, o.behind_ns, o.ops, o.late_ops);
	return o;
}
