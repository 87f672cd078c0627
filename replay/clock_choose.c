/* SPDX-License-Identifier: MIT */
/*
 * May the time-stamp counter be trusted? What the CPU says of it, and what CPUs that exchange stamps find.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/bits.h"
#include "replay/clock.h"

#define CPUS_MOST	17U		   /* the first one and those held against it */
#define EXCHANGE_ROUNDS 2000U		   /* of a pair that is not held up */
#define LIMIT_NS	UINT64_C(50000000) /* for all pairs together */
#define BOUND_NS	UINT64_C(10000)	   /* what stamps may be apart; an exchange takes 0.2 us */
#define SPINS_LOOK	256U		   /* between two looks at the time */

const char *const clock_wish_names[] = {"auto", "tsc", "monotonic", NULL};

/* ---- two CPUs ---- */

struct exchange {
	uint64_t (*stamp)(int cpu);
	int cpu[2];
	uint64_t deadline_ns;
	_Atomic uint32_t asked, answered; /* rounds */
	_Atomic bool over, lost;	  /* lost: could not be pinned */
	uint64_t answer;		  /* the other's stamp */
	int64_t low, high;		  /* by how much the other's clock can be ahead, in ticks */
};

static bool pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	return !pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* Wait until @count has come to @round. Return: false: there is no more of it. */
static bool wait_for(struct exchange *x, _Atomic uint32_t *count, uint32_t round)
{
	for (unsigned int spins = 1; atomic_load_explicit(count, memory_order_acquire) != round;
	     spins++) {
		if (atomic_load_explicit(&x->over, memory_order_relaxed))
			return false;
		/* Spinning, no yielding: where CPUs are busy, both are on theirs at once but for a while. */
		if (spins % SPINS_LOOK == 0 && monotonic_ns() > x->deadline_ns)
			return false;
	}
	return true;
}

static void *answer(void *arg)
{
	struct exchange *x = arg;

	if (!pin(x->cpu[1]))
		atomic_store(&x->lost, true);
	for (uint32_t round = 1; wait_for(x, &x->asked, round); round++) {
		x->answer = x->stamp(x->cpu[1]);
		atomic_store_explicit(&x->answered, round, memory_order_release);
	}
	return NULL;
}

/*
 * The other's stamp lies between two of ours, if they are of one clock: its clock is ahead of ours by at
 * least answer - after and at most answer - before, in every round.
 */
static void *ask(void *arg)
{
	struct exchange *x = arg;
	int64_t low = INT64_MIN, high = INT64_MAX;

	if (!pin(x->cpu[0]))
		atomic_store(&x->lost, true);
	for (uint32_t round = 1; round <= EXCHANGE_ROUNDS; round++) {
		const uint64_t before = x->stamp(x->cpu[0]);
		int64_t least, most;

		atomic_store_explicit(&x->asked, round, memory_order_release);
		if (!wait_for(x, &x->answered, round))
			break;
		least = (int64_t)(x->answer - x->stamp(x->cpu[0]));
		most = (int64_t)(x->answer - before);
		low = least > low ? least : low;
		high = most < high ? most : high;
	}
	atomic_store(&x->over, true);
	x->low = low;
	x->high = high;
	return NULL;
}

int clock_exchange(int a, int b, uint64_t (*stamp)(int cpu), uint64_t limit_ns, uint64_t *bound)
{
	struct exchange x = {
		.stamp = stamp,
		.cpu = {a, b},
		.deadline_ns = monotonic_ns() + limit_ns,
		.low = INT64_MIN,
		.high = INT64_MAX,
	};
	pthread_t asks, answers;

	if (pthread_create(&answers, NULL, answer, &x))
		return -EAGAIN;
	if (pthread_create(&asks, NULL, ask, &x)) {
		atomic_store(&x.over, true);
		pthread_join(answers, NULL);
		return -EAGAIN;
	}
	pthread_join(asks, NULL);
	pthread_join(answers, NULL);
	if (atomic_load(&x.lost) || x.high == INT64_MAX)
		return -EAGAIN;
	*bound = (uint64_t)(x.high > -x.low ? x.high : -x.low);
	return x.low <= 0 && x.high >= 0;
}

/* ---- all of them ---- */

static bool has_counter(void)
{
#if defined(__x86_64__) || defined(__aarch64__)
	return true;
#else
	return false;
#endif
}

static bool is_invariant(void)
{
#if defined(__x86_64__)
	unsigned int a, b, c, d;

	return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d >> 8 & 1);
#else
	return has_counter();
#endif
}

static void fence(void)
{
#if defined(__x86_64__)
	_mm_lfence();
#elif defined(__aarch64__)
	__asm__ volatile("isb" : : : "memory");
#endif
}

static uint64_t read_counter(int cpu)
{
	uint64_t ticks;

	(void)cpu;
	/* In its place: else the CPU may read it before it has seen that it is its turn. */
	fence();
	ticks = clock_read(CLOCK_SOURCE_COUNTER);
	fence();
	return ticks;
}

/* Ticks that pass in BOUND_NS, roughly; 0: it does not tick. */
static uint64_t ticks_of_bound(void)
{
	const uint64_t from_ns = monotonic_ns(), from = read_counter(0);
	uint64_t ns;

	do {
		ns = monotonic_ns() - from_ns;
	} while (ns < 20 * BOUND_NS);
	return (read_counter(0) - from) * BOUND_NS / ns;
}

/* Does the kernel, which watches it all the time, take its own time from the counter? */
static bool kernel_trusts_counter(void)
{
#if defined(__x86_64__)
	static const char path[] =
		"/sys/devices/system/clocksource/clocksource0/current_clocksource";
	FILE *file = fopen(path, "re");
	char name[16] = "";
	bool trusts = file && fgets(name, sizeof(name), file) && strcmp(name, "tsc\n") == 0;

	if (file)
		fclose(file);
	return trusts;
#else
	/* The architecture says that it is one clock. */
	return has_counter();
#endif
}

/* Return: whether the counter is one clock on all CPUs that may be used; if not, @why says it. */
static bool is_synchronised(char why[CLOCK_WHY_MAX])
{
	const uint64_t deadline_ns = monotonic_ns() + LIMIT_NS, most = ticks_of_bound();
	unsigned int seen = 0;
	cpu_set_t set;
	int first = -1;

	if (sched_getaffinity(0, sizeof(set), &set)) {
		snprintf(why, CLOCK_WHY_MAX, "the CPUs of this process are not known");
		return false;
	}
	for (int cpu = 0; cpu < CPU_SETSIZE && seen < CPUS_MOST; cpu++) {
		uint64_t bound = 0, now_ns = monotonic_ns();
		int rc = 1;

		if (!CPU_ISSET((size_t)cpu, &set))
			continue;
		if (!seen++)
			first = cpu;
		else
			rc = clock_exchange(first, cpu, read_counter,
					    deadline_ns > now_ns ? deadline_ns - now_ns : 0,
					    &bound);
		if (rc == 1 && bound <= most)
			continue;
		/* Nothing speaks against it: the kernel has had more time to look. */
		if (rc && kernel_trusts_counter())
			continue;
		snprintf(why, CLOCK_WHY_MAX, "the time-stamp counters of CPUs %d and %d %s", first,
			 cpu,
			 rc == 0 ? "are apart"
				 : "could not be held against each other, they are too busy");
		return false;
	}
	return true;
}

int clock_choose(enum clock_wish wish, struct clock_choice *choice, struct error *err)
{
	*choice = (struct clock_choice){.source = CLOCK_SOURCE_MONOTONIC};
	if (wish == CLOCK_WISH_MONOTONIC)
		return 0;
	if (!has_counter())
		snprintf(choice->why, sizeof(choice->why),
			 "this build knows no time-stamp counter of this kind of CPU");
	else if (!is_invariant())
		snprintf(choice->why, sizeof(choice->why),
			 "the time-stamp counter of this CPU is not invariant");
	else if (is_synchronised(choice->why))
		choice->source = CLOCK_SOURCE_COUNTER;
	if (choice->source != CLOCK_SOURCE_COUNTER && wish == CLOCK_WISH_COUNTER)
		return error_set(err, ENOTSUP,
				 "%s; let the clock be chosen, or choose the monotonic one",
				 choice->why);
	return 0;
}
