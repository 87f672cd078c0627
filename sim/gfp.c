/* SPDX-License-Identifier: MIT */
#include "sim/gfp.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "sim/machine.h"

struct gfp_name {
	const char *name; /* without "__GFP_" or "GFP_" */
	uint32_t mask;
	uint8_t length;
};

#define NAME(text, mask)                                                                           \
	{                                                                                          \
		text, mask, sizeof(text) - 1                                                       \
	}

/* Single bits, in the order in which they are printed. */
static const struct gfp_name bit_names[] = {
	NAME("DMA", GFP_DMA),
	NAME("HIGHMEM", GFP_HIGHMEM),
	NAME("DMA32", GFP_DMA32),
	NAME("MOVABLE", GFP_MOVABLE),
	NAME("RECLAIMABLE", GFP_RECLAIMABLE),
	NAME("HIGH", GFP_HIGH),
	NAME("IO", GFP_IO),
	NAME("FS", GFP_FS),
	NAME("ZERO", GFP_ZERO),
	NAME("DIRECT_RECLAIM", GFP_DIRECT_RECLAIM),
	NAME("KSWAPD_RECLAIM", GFP_KSWAPD_RECLAIM),
	NAME("WRITE", GFP_WRITE),
	NAME("NOWARN", GFP_NOWARN),
	NAME("RETRY_MAYFAIL", GFP_RETRY_MAYFAIL),
	NAME("NOFAIL", GFP_NOFAIL),
	NAME("NORETRY", GFP_NORETRY),
	NAME("MEMALLOC", GFP_MEMALLOC),
	NAME("COMP", GFP_COMP),
	NAME("NOMEMALLOC", GFP_NOMEMALLOC),
	NAME("HARDWALL", GFP_HARDWALL),
	NAME("THISNODE", GFP_THISNODE),
	NAME("ACCOUNT", GFP_ACCOUNT),
	NAME("ZEROTAGS", GFP_ZEROTAGS),
	NAME("NO_OBJ_EXT", GFP_NO_OBJ_EXT),
	/* older spellings, never printed */
	NAME("ATOMIC", GFP_HIGH),
	NAME("REPEAT", GFP_RETRY_MAYFAIL),
	NAME("WAIT", GFP_DIRECT_RECLAIM),
};

#define RECLAIM	  (GFP_DIRECT_RECLAIM | GFP_KSWAPD_RECLAIM)
#define KERNEL	  (RECLAIM | GFP_IO | GFP_FS)
#define USER	  (KERNEL | GFP_HARDWALL)
#define HIGHUSER  (USER | GFP_HIGHMEM)
#define THP_LIGHT (((HIGHUSER | GFP_MOVABLE | GFP_COMP | GFP_NOMEMALLOC | GFP_NOWARN)) & ~RECLAIM)

/* Names of several bits at once, written "GFP_X". */
static const struct gfp_name compound_names[] = {
	NAME("KERNEL", KERNEL),
	NAME("KERNEL_ACCOUNT", KERNEL | GFP_ACCOUNT),
	NAME("ATOMIC", GFP_HIGH | GFP_KSWAPD_RECLAIM),
	NAME("NOWAIT", GFP_KSWAPD_RECLAIM | GFP_NOWARN),
	NAME("NOIO", RECLAIM),
	NAME("NOFS", RECLAIM | GFP_IO),
	NAME("USER", USER),
	NAME("TEMPORARY", KERNEL | GFP_RECLAIMABLE),
	NAME("HIGHUSER", HIGHUSER),
	NAME("HIGHUSER_MOVABLE", HIGHUSER | GFP_MOVABLE),
	NAME("TRANSHUGE_LIGHT", THP_LIGHT),
	NAME("TRANSHUGE", THP_LIGHT | GFP_DIRECT_RECLAIM),
	NAME("MOVABLE_MASK", GFP_MOVABLE | GFP_RECLAIMABLE),
};

/* Names of several bits, or of none that matters here, written "__GFP_X". */
static const struct gfp_name other_names[] = {
	NAME("RECLAIM", RECLAIM),
	NAME("COLD", 0),
	NAME("NOTRACK", 0),
	NAME("OTHER_NODE", 0),
	NAME("NOLOCKDEP", 0),
	NAME("SKIP_ZERO", 0),
	NAME("SKIP_KASAN", 0),
	NAME("SKIP_KASAN_POISON", 0),
	NAME("SKIP_KASAN_UNPOISON", 0),
};

static const struct gfp_name *find_name(const struct gfp_name *names, size_t n, const char *text,
					size_t length)
{
	for (size_t i = 0; i < n; i++) {
		if (names[i].length == length && memcmp(names[i].name, text, length) == 0)
			return &names[i];
	}
	return NULL;
}

#define FIND(names, text, length) find_name(names, ARRAY_SIZE(names), text, length)

static bool cut_prefix(const char **text, size_t *length, const char *prefix)
{
	size_t n = strlen(prefix);

	if (*length <= n || memcmp(*text, prefix, n) != 0)
		return false;
	*text += n;
	*length -= n;
	return true;
}

/* One name between bars. */
static const struct gfp_name *parse_name(const char *text, size_t length)
{
	const struct gfp_name *name;

	if (cut_prefix(&text, &length, "__GFP_")) {
		name = FIND(bit_names, text, length);
		return name ? name : FIND(other_names, text, length);
	}
	if (cut_prefix(&text, &length, "GFP_")) {
		/* Compounds first: GFP_ATOMIC is one, __GFP_ATOMIC was a bit. */
		name = FIND(compound_names, text, length);
		return name ? name : FIND(bit_names, text, length);
	}
	return NULL;
}

static uint32_t known_bits(void)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < ARRAY_SIZE(bit_names); i++)
		mask |= bit_names[i].mask;
	return mask;
}

/* Decimal or 0x...: true and @value, or false if @text is not wholly a number. */
static bool parse_number(const char *text, size_t length, uint64_t *value)
{
	unsigned int base = 10;
	uint64_t v = 0;

	if (length > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
		length -= 2;
	}
	if (length == 0 || length > 16)
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned int c = (unsigned char)text[i], digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (base == 16 && (c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			digit = (c | 0x20) - 'a' + 10;
		else
			return false;
		v = v * base + digit;
	}
	*value = v;
	return true;
}

static void count_unknown(unsigned int *unknown)
{
	if (unknown)
		(*unknown)++;
}

uint32_t gfp_parse(const char *text, size_t length, unsigned int *unknown)
{
	const char *end = text + length;
	uint32_t gfp = 0;
	uint64_t number;

	if (length == 4 && memcmp(text, "none", 4) == 0)
		return 0;
	if (parse_number(text, length, &number)) {
		if (number & ~(uint64_t)known_bits())
			count_unknown(unknown);
		return (uint32_t)number & known_bits();
	}
	while (text < end) {
		const char *bar = memchr(text, '|', (size_t)(end - text));
		const char *stop = bar ? bar : end;
		/* A number among names is bits without a name, in the numbering of that kernel. */
		const struct gfp_name *name = parse_name(text, (size_t)(stop - text));

		if (name)
			gfp |= name->mask;
		else
			count_unknown(unknown);
		text = bar ? bar + 1 : end;
	}
	return gfp;
}

uint32_t gfp_bit(const char *name, size_t length)
{
	const struct gfp_name *found;

	if (!cut_prefix(&name, &length, "__GFP_")) {
		if (!cut_prefix(&name, &length, "GFP_") || FIND(compound_names, name, length))
			return 0;
	}
	found = FIND(bit_names, name, length);
	return found ? found->mask : 0;
}

/* Append to @text of @size, whose first *@at bytes are used. */
static void append(char *text, size_t size, size_t *at, const char *bar, const char *name)
{
	int n;

	if (*at >= size)
		return;
	n = snprintf(text + *at, size - *at, "%s%s", bar, name);
	*at += n > 0 ? (size_t)n : 0;
}

void gfp_format(uint32_t gfp, char *text, size_t size)
{
	uint32_t left = gfp;
	size_t at = 0;

	if (size == 0)
		return;
	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(bit_names); i++) {
		if (left & bit_names[i].mask)
			append(text, size, &at, at ? "|" : "", bit_names[i].name);
		left &= ~bit_names[i].mask;
	}
	if (left) {
		char hex[16];

		snprintf(hex, sizeof(hex), "0x%x", left);
		append(text, size, &at, at ? "|" : "", hex);
	}
	if (gfp == 0)
		append(text, size, &at, "", "none");
}

unsigned int gfp_migratetype(uint32_t gfp)
{
	switch (gfp & (GFP_MOVABLE | GFP_RECLAIMABLE)) {
	case GFP_MOVABLE:
		return MIGRATE_MOVABLE;
	case GFP_RECLAIMABLE:
		return MIGRATE_RECLAIMABLE;
	default: /* both at once is a kernel bug; nothing may be assumed movable then */
		return MIGRATE_UNMOVABLE;
	}
}
