/* SPDX-License-Identifier: MIT */
/* Nothing at all: a machine of any size costs only its metadata. */
#include "sim/backing/backing.h"

static int none_map(struct memory *m, struct error *err)
{
	(void)m; /* frames stay NULL */
	(void)err;
	return 0;
}

static int none_prepare(struct memory *m, struct pfn_range range, struct error *err)
{
	(void)m;
	(void)range;
	(void)err;
	return 0;
}

static void none_touch(struct memory *m, struct pfn_range range, enum memory_touch how)
{
	(void)m;
	(void)range;
	(void)how;
}

static int none_discard(struct memory *m, struct pfn_range range)
{
	(void)m;
	(void)range;
	return 0;
}

static void none_unmap(struct memory *m)
{
	(void)m;
}

const struct memory_ops backing_none = {
	.map = none_map,
	.prepare = none_prepare,
	.touch = none_touch,
	.discard = none_discard,
	.unmap = none_unmap,
};
