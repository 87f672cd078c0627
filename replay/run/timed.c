/* SPDX-License-Identifier: MIT */
/* How well a timed run kept to the trace's times. */
#include <math.h>

#include "replay/run/run.h"

static int warn(struct run *r, const struct pace_outcome *o)
{
	return tell_warning(
		&r->tell,
		"could not keep up at speed %g: what was due within %.3f s was over "
		"%.3f s later, and %.1f %% of the operations began more than 1 ms late; "
		"its times are not those of this pace; play it more slowly",
		r->config.speed, (double)o->due_ns / 1e9, (double)o->behind_ns / 1e9,
		100 * (double)o->late_ops / (double)o->ops);
}

int run_tell_pace(struct run *r)
{
	const struct pace_outcome o = engine_pace(r->engine);
	int rc;

	if (r->config.mode != REPLAY_TIMED)
		return 0;
	rc = tell_metric(&r->tell, METRIC_late_share,
			 o.ops ? (double)o.late_ops / (double)o.ops : NAN);
	if (!rc)
		rc = tell_metric(&r->tell, METRIC_behind_ns, (double)o.behind_ns);
	if (!rc && o.fell_behind)
		rc = warn(r, &o);
	/* At least one, so that it stands there. */
	r->doubts.count[DOUBT_fell_behind] = o.fell_behind ? o.late_ops + !o.late_ops : 0;
	return rc;
}
