/* SPDX-License-Identifier: MIT */
/*
 * What each kind of benchmark does, and how each run begins. Private to replay/bench/.
 */
#ifndef REPLAY_BENCH_KINDS_H
#define REPLAY_BENCH_KINDS_H

#include "replay/bench/rig.h"

/** Both measure, and tell their metrics and samples. Return: 0 or a negative errno. */
int bench_time(struct bench_rig *rig); /* bulk, repeat, rand */
int bench_frag(struct bench_rig *rig);

/** RESULT_RUN and the settings of a point, begun at @start_ns (since 1970). */
int bench_send_run(const struct bench_point *point, uint64_t start_ns, struct result_sink *sink,
		   struct error *err);

#endif
