/* SPDX-License-Identifier: MIT */
#include "traces/import/perf_line.h"

#include <errno.h>
#include <string.h>

#include <xxhash.h>

#include "base/bits.h"
#include "sim/gfp.h"
#include "traces/file/trace.h"

#define COMM_MAX 15 /* bytes; the kernel keeps no longer names */

/* Every byte up to the blank ends a token: '\n' stops all forward scans, and so does a NUL. */
static inline bool is_gap(char c)
{
	return (unsigned char)c <= ' ';
}

static inline bool is_digit(char c)
{
	return (unsigned char)(c - '0') < 10;
}

static inline bool is_letter(char c)
{
	return (unsigned char)((c | 0x20) - 'a') < 26;
}

static enum perf_line_kind fault_at(struct perf_fault *fault, int code, const char *at,
				    const char *expected, const char *remedy)
{
	fault->code = code;
	fault->at = at;
	fault->expected = expected;
	fault->remedy = remedy;
	return PERF_LINE_FAULT;
}

#define REMEDY_DAMAGED "the line is damaged; run perf script again, or delete the line"
#define REMEDY_FIELDS  "run perf script with its default fields"
#define REMEDY_RANGE   "the line is damaged, or not from a Linux page allocator; delete it"

/* ---- numbers ---- */

/* The value of a hexadecimal digit, or 16. */
static inline unsigned int hex_value(char c)
{
	unsigned int letter = (unsigned int)(unsigned char)(c | 0x20) - 'a';

	if (is_digit(c))
		return (unsigned int)(c - '0');
	return letter < 6 ? letter + 10 : 16;
}

/*
 * A number in hexadecimal with 0x, else decimal (a leading zero is no octal), which a gap must
 * follow. Returns the gap, or NULL.
 */
static const char *scan_number(const char *p, uint64_t *value)
{
	uint64_t v = 0;
	const char *start;

	if (p[0] == '0' && (p[1] | 0x20) == 'x') {
		unsigned int digit;

		start = p += 2;
		while ((digit = hex_value(*p)) < 16) {
			v = v << 4 | digit;
			p++;
		}
		if (p == start || p - start > 16)
			return NULL;
	} else {
		start = p;
		while (is_digit(*p)) {
			if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
			    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
				return NULL;
			p++;
		}
		if (p == start)
			return NULL;
	}
	*value = v;
	return is_gap(*p) ? p : NULL;
}

/* ---- the head of a line, read backwards ---- */

static const char *skip_gap_back(const char *line, const char *p)
{
	while (p > line && (p[-1] == ' ' || p[-1] == '\t'))
		p--;
	return p;
}

static const char *skip_digits_back(const char *line, const char *p)
{
	while (p > line && is_digit(p[-1]))
		p--;
	return p;
}

/* Digits of at most 18 places, which cannot overflow. */
static uint64_t digits_value(const char *p, const char *end)
{
	uint64_t v = 0;

	while (p < end)
		v = v * 10 + (uint64_t)(*p++ - '0');
	return v;
}

/* SECONDS.FRACTION up to @p. Returns where it starts, or NULL. */
static const char *scan_time_back(const char *line, const char *p, uint64_t *time_ns)
{
	static const uint32_t scale[] = {1000000000, 100000000, 10000000, 1000000, 100000,
					 10000,	     1000,	100,	  10,	   1};
	const char *point = skip_digits_back(line, p);
	ptrdiff_t places = p - point;
	const char *start;

	if (places == 0 || places > 9 || point == line || *--point != '.')
		return NULL;
	start = skip_digits_back(line, point);
	/* Ten places of seconds stay below 2^64 ns; no trace has room for all of them. */
	if (start == point || point - start > 10 || (start > line && !is_gap(start[-1])))
		return NULL;
	*time_ns = digits_value(start, point) * 1000000000 +
		   digits_value(point + 1, p) * scale[places];
	return *time_ns <= TRACE_TIME_MAX ? start : NULL;
}

/*
 * The column "d.h2." of ftrace: interrupts off, reschedule, context, preempt depth, migration. The
 * column "misc" of perf (K, U, H, ...) stands in the same place and tells the mode only.
 */
static void scan_irq_flags(const char *p, const char *end, struct perf_line *out)
{
	if (end - p < 4)
		return;
	out->has_irq_flags = true;
	if (p[2] == 'h' || p[2] == 'H' || p[2] == 'z' || p[2] == 'Z')
		out->event.flags |= EVENT_HARDIRQ;
	if (p[2] == 's' || p[2] == 'H')
		out->event.flags |= EVENT_SOFTIRQ;
	if (hex_value(p[3]) >= 2 && hex_value(p[3]) < 16)
		out->event.flags |= EVENT_NESTED;
}

/*
 * The optional columns between CPU and time, then "[CPU]". Returns where they start; @p itself when
 * there is no CPU column; NULL if it is broken.
 */
static const char *scan_cpu_back(const char *line, const char *p, struct perf_line *out,
				 uint64_t *cpu)
{
	const char *end = p, *token = p, *digits;

	*cpu = 0;
	if (p > line && p[-1] != ']') {
		while (token > line && !is_gap(token[-1]))
			token--;
		p = skip_gap_back(line, token);
		if (p == line || p[-1] != ']' || end - token > 8)
			return end;
		scan_irq_flags(token, end, out);
	}
	if (p == line)
		return p;
	end = --p;
	digits = skip_digits_back(line, p);
	if (digits == line || digits[-1] != '[' || end == digits || end - digits > 9)
		return NULL;
	*cpu = digits_value(digits, end);
	return skip_gap_back(line, digits - 1);
}

/*
 * "comm PID", "comm PID/TID", "comm-PID", "comm-PID  (TGID)", all without comm, or nothing. Returns
 * where the comm ends. A comm that looks like the start of another column cannot be told apart; the
 * worst outcome is a wrong context number.
 */
static const char *scan_pid_back(const char *line, const char *p, bool perf, uint64_t *pid,
				 bool *has_pid)
{
	const char *end = p, *start;

	*has_pid = false;
	if (p > line && p[-1] == ')') {
		const char *open = p;

		while (open > line && *open != '(')
			open--;
		if (open > line)
			p = skip_gap_back(line, open);
		if (p == line || !is_digit(p[-1]))
			return end;
		end = p;
	}
	start = skip_digits_back(line, p);
	if (start == p || p - start > 9)
		return end;
	*pid = digits_value(start, p);
	if (start == line || is_gap(start[-1])) {
		*has_pid = true;
		return start;
	}
	if (start[-1] == '/') { /* PID/TID: the thread counts */
		*has_pid = true;
		return skip_digits_back(line, start - 1);
	}
	if (start[-1] == '-') {
		/* perf prints -1 for a thread it has lost track of */
		if (start - 1 == line || is_gap(start[-2]) || start[-2] == '/')
			return start - 1;
		if (!perf) {
			*has_pid = true;
			return start - 1;
		}
	}
	return end;
}

/* Does what is left of the head pass for a comm? If not, the match is in another event's text. */
static bool comm_is_plausible(const char *line, const char *p)
{
	p = skip_gap_back(line, p);
	while (line < p && is_gap(*line))
		line++;
	return p - line <= COMM_MAX;
}

/*
 * Everything before the event's name at @name. @out gets time, cpu, pid, flags; @rest is where the
 * part begins that made sense. Returns EVENT or FAULT.
 */
static enum perf_line_kind scan_head(const char *line, const char *name, struct perf_line *out,
				     const char **rest, struct perf_fault *fault)
{
	const char *p = name, *time;
	uint64_t cpu, pid = 0;
	bool perf, has_pid;

	*rest = name;
	perf = p > line && p[-1] == ':';
	if (perf)
		for (p--; p > line && (is_letter(p[-1]) || is_digit(p[-1]) || p[-1] == '_'); p--)
			;
	out->name = p;
	out->has_system = perf;
	if (p > line && is_gap(p[-1])) {
		p = skip_gap_back(line, p);
		/* the period, with -F +period */
		if (p > line && is_digit(p[-1]))
			p = skip_gap_back(line, skip_digits_back(line, p));
	}
	if (p == line || p[-1] != ':')
		return fault_at(fault, EBADMSG, p, "a time before the event", REMEDY_FIELDS);
	time = scan_time_back(line, p - 1, &out->event.time_ns);
	if (!time)
		return fault_at(fault, EBADMSG, p - 1, "a time SECONDS.FRACTION", REMEDY_DAMAGED);
	out->has_time = true;
	*rest = time;

	p = scan_cpu_back(line, skip_gap_back(line, time), out, &cpu);
	if (!p)
		return fault_at(fault, EBADMSG, line, "[CPU] before the time", REMEDY_DAMAGED);
	if (cpu >= MACHINE_CPUS_MAX)
		return fault_at(fault, ERANGE, p, "a CPU below 4096", REMEDY_RANGE);
	out->event.cpu = (uint16_t)cpu;

	p = scan_pid_back(line, p, perf, &pid, &has_pid);
	if (has_pid && pid >= PERF_LINE_PID_MAX)
		return fault_at(fault, ERANGE, p, "a pid below 4194304", REMEDY_RANGE);
	out->pid = has_pid ? (int32_t)pid : -1;
	if (!comm_is_plausible(line, p))
		return fault_at(fault, EBADMSG, line, "a command name of at most 15 bytes",
				REMEDY_FIELDS);
	return PERF_LINE_EVENT;
}

/* ---- the fields behind the name ---- */

enum field {
	FIELD_PFN,
	FIELD_ORDER,
	FIELD_MIGRATETYPE,
	FIELD_GFP,
	FIELD_REFILL,
	FIELD_ALLOC_ORDER,
	FIELD_ALLOC_TYPE,
	FIELD_FALLBACK_ORDER,
	FIELD_FALLBACK_TYPE,
	FIELD_OWNERSHIP,
	FIELD_MOVED,
	FIELD_FAILED,
	NR_FIELDS,
};

static const char *const field_expected[NR_FIELDS] = {
	[FIELD_PFN] = "pfn=NUMBER",
	[FIELD_ORDER] = "order=NUMBER",
	[FIELD_MIGRATETYPE] = "migratetype=NUMBER",
	[FIELD_GFP] = "gfp_flags=NAMES",
	[FIELD_REFILL] = "percpu_refill=NUMBER",
	[FIELD_ALLOC_ORDER] = "alloc_order=NUMBER",
	[FIELD_ALLOC_TYPE] = "alloc_migratetype=NUMBER",
	[FIELD_FALLBACK_ORDER] = "fallback_order=NUMBER",
	[FIELD_FALLBACK_TYPE] = "fallback_migratetype=NUMBER",
	[FIELD_OWNERSHIP] = "change_ownership=NUMBER",
	[FIELD_MOVED] = "nr_migrated=NUMBER",
	[FIELD_FAILED] = "nr_failed=NUMBER",
};

/* What an event's line holds. */
struct layout {
	const char *name;
	uint8_t kind;  /* enum event_kind; 0: known and left out */
	uint16_t need; /* bits of enum field */
	uint16_t may;  /* read when there */
};

#define BIT(f) ((uint16_t)(1U << FIELD_##f))

/* No two names have the same length, so that finding one takes a single compare. */
#define LONGEST_NAME   26
#define LAYOUT(s, ...) [sizeof(s) - 1] = {s, __VA_ARGS__}

/* clang-format off */
static const struct layout layouts[LONGEST_NAME + 1] = {
	LAYOUT("mm_page_alloc", EVENT_ALLOC,
	       BIT(PFN) | BIT(ORDER) | BIT(MIGRATETYPE) | BIT(GFP), 0),
	LAYOUT("mm_page_free", EVENT_FREE, BIT(PFN) | BIT(ORDER), 0),
	/* announces once more what mm_page_free has told */
	LAYOUT("mm_page_free_batched", 0, 0, 0),
	LAYOUT("mm_page_alloc_zone_locked", EVENT_ZONE_LOCKED,
	       BIT(PFN) | BIT(ORDER) | BIT(MIGRATETYPE), BIT(REFILL)),
	LAYOUT("mm_page_pcpu_drain", EVENT_PCPU_DRAIN, BIT(PFN) | BIT(ORDER) | BIT(MIGRATETYPE), 0),
	LAYOUT("mm_page_alloc_extfrag", EVENT_EXTFRAG,
	       BIT(PFN) | BIT(ALLOC_ORDER) | BIT(ALLOC_TYPE) | BIT(FALLBACK_ORDER) |
	       BIT(FALLBACK_TYPE) | BIT(OWNERSHIP), 0),
	LAYOUT("mm_compaction_migratepages", EVENT_COMPACTION, BIT(MOVED) | BIT(FAILED), 0),
};
/* clang-format on */

struct field_values {
	uint64_t number[NR_FIELDS];
	const char *at[NR_FIELDS]; /* where the value stands */
	uint32_t gfp;
	uint32_t seen;
};

/* The bits of the flag names at @text, up to the next gap, which is returned. */
static const char *scan_gfp(struct perf_scanner *scanner, const char *text, uint32_t *gfp)
{
	const char *end = text;
	struct perf_gfp_slot *slot;
	unsigned int unknown = 0;
	uint64_t hash;
	size_t length;

	while (!is_gap(*end))
		end++;
	length = (size_t)(end - text);
	if (length > PERF_GFP_TEXT_MAX) {
		*gfp = gfp_parse(text, length, &unknown);
		scanner->unknown_gfp_names += unknown;
		return end;
	}
	hash = XXH3_64bits(text, length);
	slot = &scanner->gfp[hash % PERF_GFP_SLOTS];
	if (slot->hash != hash || slot->length != length || memcmp(slot->text, text, length) != 0) {
		slot->gfp = gfp_parse(text, length, &unknown);
		slot->unknown = unknown;
		slot->hash = hash;
		slot->length = (uint32_t)length;
		memcpy(slot->text, text, length);
	}
	scanner->unknown_gfp_names += slot->unknown;
	*gfp = slot->gfp;
	return end;
}

static inline bool starts_with(const char *p, const char *end, const char *word, size_t length)
{
	return (size_t)(end - p) >= length && memcmp(p, word, length) == 0;
}

/*
 * Which field has its key at @p, the start of a token, and where its value starts; NR_FIELDS if
 * none of ours. The keys are spelled out so that each compare is one or two loads.
 */
static inline enum field field_at(const char *p, const char *end, const char **value)
{
#define IS(key) (starts_with(p, end, key, sizeof(key) - 1) ? (*value = p + sizeof(key) - 1) : NULL)
	switch (*p) {
	case 'p':
		if (IS("pfn="))
			return FIELD_PFN;
		return IS("percpu_refill=") ? FIELD_REFILL : NR_FIELDS;
	case 'o':
		return IS("order=") ? FIELD_ORDER : NR_FIELDS;
	case 'm':
		return IS("migratetype=") ? FIELD_MIGRATETYPE : NR_FIELDS;
	case 'g':
		return IS("gfp_flags=") ? FIELD_GFP : NR_FIELDS;
	case 'a':
		if (IS("alloc_order="))
			return FIELD_ALLOC_ORDER;
		return IS("alloc_migratetype=") ? FIELD_ALLOC_TYPE : NR_FIELDS;
	case 'f':
		if (IS("fallback_order="))
			return FIELD_FALLBACK_ORDER;
		return IS("fallback_migratetype=") ? FIELD_FALLBACK_TYPE : NR_FIELDS;
	case 'c':
		return IS("change_ownership=") ? FIELD_OWNERSHIP : NR_FIELDS;
	case 'n':
		if (IS("nr_migrated="))
			return FIELD_MOVED;
		return IS("nr_failed=") ? FIELD_FAILED : NR_FIELDS;
	default:
		return NR_FIELDS;
	}
#undef IS
}

/* Read what @layout wants from the tokens at @p. Returns EVENT or FAULT. */
static enum perf_line_kind scan_fields(struct perf_scanner *scanner, const struct layout *layout,
				       const char *p, const char *end, struct field_values *values,
				       struct perf_fault *fault)
{
	uint32_t want = layout->need | layout->may;

	*values = (struct field_values){0};
	while (p < end && (values->seen & want) != want) {
		enum field field;
		const char *value = p;

		if (is_gap(*p)) {
			p++;
			continue;
		}
		field = field_at(p, end, &value);
		if (field == NR_FIELDS) {
			while (!is_gap(*p))
				p++;
			continue;
		}
		values->at[field] = value;
		if (field == FIELD_GFP) {
			p = scan_gfp(scanner, value, &values->gfp);
			if (p == value)
				p = NULL;
		} else {
			/* A type the kernel has no name for prints as it is, even below zero. */
			bool negative = *value == '-';

			p = scan_number(value + negative, &values->number[field]);
			if (negative)
				values->number[field] = UINT64_MAX;
		}
		if (!p)
			return fault_at(fault, EBADMSG, value, field_expected[field],
					REMEDY_DAMAGED);
		values->seen |= 1U << field;
	}
	if ((values->seen & layout->need) != layout->need) {
		uint32_t lacking = layout->need & ~values->seen;

		return fault_at(fault, EBADMSG, end, field_expected[trailing_zeros(lacking)],
				"the line is cut off, or from a tool that prints other fields");
	}
	return PERF_LINE_EVENT;
}

/*
 * The kernel's numbering to ours. With CONFIG_CMA, 4 is CMA and 5 ISOLATE; without, 4 is ISOLATE. A
 * text does not tell which; nothing is ever allocated from ISOLATE, so 4 is taken for CMA.
 */
static uint8_t migratetype_of(uint64_t kernel_type)
{
	return kernel_type < MIGRATE_TYPES ? (uint8_t)kernel_type : (uint8_t)MIGRATE_UNKNOWN;
}

static enum perf_line_kind fill_compaction(const struct field_values *values, struct event *e,
					   struct perf_fault *fault)
{
	uint64_t moved = values->number[FIELD_MOVED], failed = values->number[FIELD_FAILED];

	if (moved > UINT32_MAX || failed > UINT32_MAX - moved)
		return fault_at(fault, ERANGE, values->at[FIELD_MOVED], "fewer than 2^32 frames",
				REMEDY_RANGE);
	e->kind = EVENT_COMPACTION;
	e->pfn = PFN_NONE;
	e->arg = event_compaction_arg((uint32_t)(moved + failed), (uint32_t)moved);
	return PERF_LINE_EVENT;
}

static enum perf_line_kind fill_event(const struct layout *layout,
				      const struct field_values *values, struct event *e,
				      struct perf_fault *fault)
{
	bool extfrag = layout->kind == EVENT_EXTFRAG;
	enum field order_field = extfrag ? FIELD_ALLOC_ORDER : FIELD_ORDER;
	uint64_t order = values->number[order_field];
	uint64_t pfn = values->number[FIELD_PFN];

	if (layout->kind == EVENT_COMPACTION)
		return fill_compaction(values, e, fault);
	if (order > EVENT_ORDER_MAX)
		return fault_at(fault, ERANGE, values->at[order_field], "an order of at most 31",
				REMEDY_RANGE);
	e->kind = layout->kind;
	e->order = (uint8_t)order;
	e->pfn = pfn;
	if (layout->kind == EVENT_ALLOC)
		e->gfp = values->gfp;
	if (layout->kind != EVENT_FREE)
		e->migratetype = migratetype_of(
			values->number[extfrag ? FIELD_ALLOC_TYPE : FIELD_MIGRATETYPE]);
	if (extfrag) {
		if (values->number[FIELD_FALLBACK_ORDER] > EVENT_ORDER_MAX)
			return fault_at(fault, ERANGE, values->at[FIELD_FALLBACK_ORDER],
					"an order of at most 31", REMEDY_RANGE);
		e->arg = event_extfrag_arg((unsigned int)values->number[FIELD_FALLBACK_ORDER],
					   migratetype_of(values->number[FIELD_FALLBACK_TYPE]),
					   values->number[FIELD_OWNERSHIP] != 0);
	}
	if (layout->kind == EVENT_ZONE_LOCKED && values->seen & BIT(REFILL) &&
	    values->number[FIELD_REFILL] != 0)
		e->flags |= EVENT_PCPU_REFILL;

	/* Where there is no block, the record holds -1, which prints as 0. */
	if (layout->kind != EVENT_FREE && (pfn == 0 || pfn == UINT64_MAX)) {
		if (layout->kind != EVENT_ALLOC)
			return PERF_LINE_SKIPPED;
		e->kind = EVENT_ALLOC_FAILED;
		e->pfn = PFN_NONE;
		return PERF_LINE_EVENT;
	}
	if (pfn > PFN_MAX || pfn + (UINT64_C(1) << order) - 1 > PFN_MAX)
		return fault_at(fault, ERANGE, values->at[FIELD_PFN], "a pfn below 2^40",
				REMEDY_RANGE);
	return PERF_LINE_EVENT;
}

/* ---- lines that are none of our events ---- */

static const char *find(const char *line, const char *end, const char *word)
{
	return memmem(line, (size_t)(end - line), word, strlen(word));
}

/* The first number at or after @p. Returns false if there is none; a huge one is cut. */
static bool number_after(const char *p, const char *end, uint64_t *value)
{
	uint64_t v = 0;

	while (p < end && !is_digit(*p))
		p++;
	if (p == end)
		return false;
	while (p < end && is_digit(*p) && v < UINT64_MAX / 100)
		v = v * 10 + (uint64_t)(*p++ - '0');
	*value = v;
	return true;
}

/* How many were lost, as told at or after @p: at least one, even if the line gives no number. */
static uint64_t lost_after(const char *p, const char *end)
{
	uint64_t v;

	return number_after(p, end, &v) && v ? v : 1;
}

/* "CPU:1 [LOST 12 EVENTS]" of ftrace, "CPU:1 [12 EVENTS DROPPED]" of trace-cmd. */
static bool scan_lost_ftrace(const char *line, const char *end, struct event *e)
{
	const char *bracket;
	uint64_t cpu;

	if (!starts_with(line, end, "CPU:", 4))
		return false;
	bracket = find(line, end, " [");
	if (!bracket || !number_after(line, bracket, &cpu) || cpu >= MACHINE_CPUS_MAX)
		return false;
	if (!find(bracket, end, "LOST") && !find(bracket, end, "DROPPED"))
		return false;
	e->cpu = (uint16_t)cpu;
	e->arg = lost_after(bracket, end);
	return true;
}

/*
 * "# entries-in-buffer/entries-written: 205/1000   #P:2" above an ftrace text: the ring buffer has
 * overwritten the difference.
 */
static bool scan_overwritten(const char *line, const char *end, struct event *e)
{
	static const char head[] = "# entries-in-buffer/entries-written: ";
	const char *slash;
	uint64_t kept, written;

	if (!starts_with(line, end, head, sizeof(head) - 1))
		return false;
	line += sizeof(head) - 1;
	slash = memchr(line, '/', (size_t)(end - line));
	if (!slash || !number_after(line, slash, &kept) || !number_after(slash, end, &written) ||
	    written <= kept)
		return false;
	e->arg = written - kept;
	return true;
}

/* "  task-1  12 [000]  1731.100186: PERF_RECORD_LOST lost 31", with --show-lost-events. */
static bool scan_lost_perf(const char *line, const char *end, struct perf_line *out)
{
	static const char name[] = "PERF_RECORD_LOST";
	const char *at = find(line, end, name), *count, *rest;
	struct perf_fault ignored;

	if (!at || scan_head(line, at, out, &rest, &ignored) != PERF_LINE_EVENT)
		return false;
	count = find(at, end, " lost ");
	out->event.arg = lost_after(count ? count : end, end);
	return true;
}

static enum perf_line_kind scan_other(const char *line, const char *end, struct perf_line *out,
				      struct perf_fault *fault)
{
	static const char release[] = "# os release : ";
	const char *nul = memchr(line, 0, (size_t)(end - line));

	if (nul)
		return fault_at(fault, EBADMSG, nul, "text",
				"the file is binary or damaged; give the text of perf script");
	*out = (struct perf_line){.pid = -1, .event = {.kind = EVENT_LOST, .pfn = PFN_NONE}};
	if (starts_with(line, end, release, sizeof(release) - 1)) {
		out->text = line + sizeof(release) - 1;
		out->text_length = (size_t)(end - out->text);
		return PERF_LINE_RELEASE;
	}
	if (scan_lost_ftrace(line, end, &out->event) || scan_overwritten(line, end, &out->event))
		return PERF_LINE_LOST;
	if (scan_lost_perf(line, end, out)) {
		out->event.flags = 0;
		return PERF_LINE_LOST;
	}
	return PERF_LINE_SKIPPED;
}

/* ---- the line ---- */

/* The layout of the event whose name starts at @name and ends with ':'. */
static const struct layout *layout_of(const char *name, const char **fields_at)
{
	const char *p = name;
	const struct layout *layout;
	size_t length;

	while (is_letter(*p) || *p == '_')
		p++;
	length = (size_t)(p - name);
	if (length > LONGEST_NAME || !layouts[length].name)
		return NULL;
	layout = &layouts[length];
	if (memcmp(name, layout->name, length) != 0)
		return NULL;
	if (p[0] == ':' && is_letter(p[1])) { /* modifiers: kmem:mm_page_free:k: */
		do {
			p++;
		} while (is_letter(*p));
	}
	if (p[0] != ':' || !is_gap(p[1]))
		return NULL;
	*fields_at = p + 1;
	return layout;
}

/* Is there "TIME: " in [line, end)? Then the line is another event, which mentions one of ours. */
static bool has_other_head(const char *line, const char *end)
{
	for (const char *p = line; (p = memchr(p, ':', (size_t)(end - p))) != NULL; p++) {
		uint64_t time_ns;

		if (p > line && is_gap(p[1]) && scan_time_back(line, p, &time_ns))
			return true;
	}
	return false;
}

enum perf_line_kind perf_line_scan(struct perf_scanner *scanner, const char *line, const char *end,
				   struct perf_line *out, struct perf_fault *fault)
{
	static const char prefix[] = "mm_";
	struct perf_fault head = {0};
	const char *p = line;

	/* A call chain's symbols hold underscores galore, never an event. */
	if (*line == '\t')
		return PERF_LINE_SKIPPED;
	while ((p = memchr(p, '_', (size_t)(end - p))) != NULL) {
		const char *name = p++ - 2, *fields_at, *rest;
		const struct layout *layout;
		struct field_values values;
		enum perf_line_kind kind;

		if (name < line || !starts_with(name, end, prefix, sizeof(prefix) - 1))
			continue;
		if (name > line && name[-1] != ':' && !is_gap(name[-1]))
			continue;
		layout = layout_of(name, &fields_at);
		if (!layout)
			continue;
		*out = (struct perf_line){.pid = -1};
		if (scan_head(line, name, out, &rest, fault) != PERF_LINE_EVENT) {
			if (!head.code && *line != '#' && !has_other_head(line, rest))
				head = *fault;
			continue;
		}
		if (!layout->kind)
			return PERF_LINE_SKIPPED;
		kind = scan_fields(scanner, layout, fields_at, end, &values, fault);
		if (kind != PERF_LINE_EVENT)
			return kind;
		return fill_event(layout, &values, &out->event, fault);
	}
	if (head.code) {
		*fault = head;
		return PERF_LINE_FAULT;
	}
	return scan_other(line, end, out, fault);
}
