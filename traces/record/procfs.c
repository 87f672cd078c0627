/* SPDX-License-Identifier: MIT */
/*
 * The text files of /proc: zoneinfo, iomem, buddyinfo, pagetypeinfo, vmstat. Each is read whole and walked
 * line by line, so that a surprise can be reported with its line. The scan of the frames themselves
 * is procfs_scan.c.
 */
#include "traces/record/procfs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bits.h"

/* A file in memory, handed out line by line. */
struct text {
	char path[PATH_MAX];
	char *data, *next;
	unsigned int line;
};

static void text_close(struct text *t)
{
	free(t->data);
	t->data = NULL;
}

static int text_open_error(const struct text *t, int code, struct error *err)
{
	if (code == EACCES || code == EPERM)
		return error_set(err, EACCES, "%s: permission denied; run as root", t->path);
	if (code == ENOENT)
		return error_set(err, ENOENT, "%s: no such file; is /proc mounted?", t->path);
	return error_set(err, code, "%s: cannot be read: %s", t->path, strerror(code));
}

/* Files of /proc have no size to ask for: read until the end, growing. */
static int text_read_fd(struct text *t, int fd, struct error *err)
{
	size_t room = 16384, size = 0;

	t->data = malloc(room);
	for (;;) {
		ssize_t n;

		if (!t->data)
			return error_set(err, ENOMEM, "%s: out of memory", t->path);
		n = read(fd, t->data + size, room - size - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return text_open_error(t, errno, err);
		if (n == 0)
			break;
		size += (size_t)n;
		if (size + 1 == room) {
			char *larger = realloc(t->data, room * 2);

			if (!larger)
				free(t->data);
			t->data = larger;
			room *= 2;
		}
	}
	t->data[size] = '\0';
	t->next = t->data;
	t->line = 0;
	return 0;
}

static int text_open(struct text *t, const struct procfs *fs, const char *name, struct error *err)
{
	const char *root = strcmp(fs->root, "/") == 0 ? "" : fs->root;
	int n, fd, rc;

	*t = (struct text){0};
	n = snprintf(t->path, sizeof(t->path), "%s/%s", root, name);
	if (n < 0 || (size_t)n >= sizeof(t->path))
		return error_set(err, ENAMETOOLONG, "%s: path too long", name);
	fd = open(t->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return text_open_error(t, errno, err);
	rc = text_read_fd(t, fd, err);
	close(fd);
	if (rc)
		text_close(t);
	return rc;
}

/* The next line, cut off in place, or NULL. */
static char *text_line(struct text *t)
{
	char *line = t->next, *end;

	if (!line || *line == '\0')
		return NULL;
	end = strchr(line, '\n');
	if (end)
		*end = '\0';
	t->next = end ? end + 1 : NULL;
	t->line++;
	return line;
}

static int text_bad(const struct text *t, const char *what, struct error *err)
{
	return error_set(err, EBADMSG,
			 "%s: line %u: %s; this kernel's format is not known, please report it",
			 t->path, t->line, what);
}

/* An unsigned number at *@s, after blanks; moves *@s behind it. ">100000" gives 100000. */
static bool parse_number(const char **s, uint64_t *value)
{
	const char *p = *s;
	char *end;

	while (isblank((unsigned char)*p))
		p++;
	if (*p == '>')
		p++;
	if (!isdigit((unsigned char)*p))
		return false;
	errno = 0;
	*value = strtoull(p, &end, 10);
	if (errno)
		return false;
	*s = end;
	return true;
}

static bool parse_end(const char *s)
{
	while (isspace((unsigned char)*s))
		s++;
	return *s == '\0';
}

/* ---- zoneinfo ---- */

struct cpu_info {
	uint64_t cpu, count, high, batch, high_min, high_max;
};

struct zone_info {
	uint64_t node, free, boost, min, low, high, promo, spanned, present, managed, start;
	unsigned int type; /* ZONE_TYPES: a name we do not know */
	uint64_t protection[ZONE_TYPES + 2];
	unsigned int nr_protection, ordinal; /* ordinal: among its node's zones */
	unsigned int line;
	bool has_start;
	struct cpu_info *cpus;
	size_t nr_cpus;
};

struct zoneinfo {
	struct text text;
	struct zone_info *zones;
	size_t nr_zones;
};

static void zoneinfo_free(struct zoneinfo *zi)
{
	for (size_t i = 0; i < zi->nr_zones; i++)
		free(zi->zones[i].cpus);
	free(zi->zones);
	text_close(&zi->text);
	*zi = (struct zoneinfo){0};
}

static unsigned int zone_type_of(const char *name, size_t length)
{
	for (unsigned int t = 0; t < ZONE_TYPES; t++) {
		const char *known = zone_type_name(t);

		if (strlen(known) == length && strncasecmp(known, name, length) == 0)
			return t;
	}
	return ZONE_TYPES;
}

/* "Node 0, zone   Normal": the node, the zone's type and what follows the name. */
static bool parse_zone_name(const char *line, uint64_t *node, unsigned int *type, const char **rest)
{
	const char *s = line;
	size_t n;

	if (strncmp(s, "Node", 4) != 0)
		return false;
	s += 4;
	if (!parse_number(&s, node) || *node > UINT16_MAX || strncmp(s, ", zone", 6) != 0)
		return false;
	s += 6;
	while (isblank((unsigned char)*s))
		s++;
	for (n = 0; isalnum((unsigned char)s[n]); n++)
		;
	if (n == 0)
		return false;
	*type = zone_type_of(s, n);
	*rest = s + n;
	return true;
}

static struct zone_info *zoneinfo_add(struct zoneinfo *zi, uint64_t node, unsigned int type)
{
	struct zone_info *zones, *z;

	zones = realloc(zi->zones, (zi->nr_zones + 1) * sizeof(*zones));
	if (!zones)
		return NULL;
	zi->zones = zones;
	z = &zones[zi->nr_zones];
	*z = (struct zone_info){.node = node, .type = type, .line = zi->text.line};
	if (zi->nr_zones && z[-1].node == node)
		z->ordinal = z[-1].ordinal + 1;
	zi->nr_zones++;
	return z;
}

static bool parse_protection(const char *s, struct zone_info *z)
{
	z->nr_protection = 0;
	while (*s != ')' && z->nr_protection < ARRAY_SIZE(z->protection)) {
		if (!parse_number(&s, &z->protection[z->nr_protection]))
			return false;
		z->nr_protection++;
		if (*s == ',')
			s++;
	}
	return *s == ')';
}

struct number_field {
	const char *key;
	size_t offset;
};

#define FIELD(type, key, member)                                                                   \
	{                                                                                          \
		key, offsetof(struct type, member)                                                 \
	}

static const struct number_field zone_fields[] = {
	FIELD(zone_info, "pages free", free), FIELD(zone_info, "boost", boost),
	FIELD(zone_info, "min", min),	      FIELD(zone_info, "low", low),
	FIELD(zone_info, "high", high),	      FIELD(zone_info, "promo", promo),
	FIELD(zone_info, "spanned", spanned), FIELD(zone_info, "present", present),
	FIELD(zone_info, "managed", managed), FIELD(zone_info, "start_pfn:", start),
};

static const struct number_field cpu_fields[] = {
	FIELD(cpu_info, "count:", count),	FIELD(cpu_info, "high:", high),
	FIELD(cpu_info, "batch:", batch),	FIELD(cpu_info, "high_min:", high_min),
	FIELD(cpu_info, "high_max:", high_max),
};

/* "KEY  NUMBER" with a KEY of @fields into @record. Return: 1 stored; 0 another key; -1 bad number. */
static int parse_field(const char *line, const struct number_field *fields, size_t n, void *record)
{
	for (size_t i = 0; i < n; i++) {
		size_t length = strlen(fields[i].key);
		const char *s = line + length;
		uint64_t value;

		if (strncmp(line, fields[i].key, length) != 0 || !isblank((unsigned char)*s))
			continue;
		if (!parse_number(&s, &value) || !parse_end(s))
			return -1;
		memcpy((char *)record + fields[i].offset, &value, sizeof(value));
		return 1;
	}
	return 0;
}

static int zone_add_cpu(struct zoneinfo *zi, struct zone_info *z, const char *s, struct error *err)
{
	struct cpu_info *cpus;
	uint64_t cpu;

	if (!parse_number(&s, &cpu) || cpu >= MACHINE_CPUS_MAX)
		return text_bad(&zi->text, "no usable CPU number after \"cpu:\"", err);
	cpus = realloc(z->cpus, (z->nr_cpus + 1) * sizeof(*cpus));
	if (!cpus)
		return error_set(err, ENOMEM, "%s: out of memory", zi->text.path);
	z->cpus = cpus;
	cpus[z->nr_cpus++] = (struct cpu_info){.cpu = cpu};
	return 0;
}

/* A line inside a zone's section, leading blanks gone. Keys we have no use for are passed over. */
static int zoneinfo_line(struct zoneinfo *zi, struct zone_info *z, const char *s, struct error *err)
{
	int got;

	if (strncmp(s, "cpu:", 4) == 0)
		return zone_add_cpu(zi, z, s + 4, err);
	if (strncmp(s, "protection: (", 13) == 0) {
		if (!parse_protection(s + 13, z))
			return text_bad(&zi->text, "protection is not a list of numbers", err);
		return 0;
	}
	got = parse_field(s, zone_fields, ARRAY_SIZE(zone_fields), z);
	if (got == 0 && z->nr_cpus)
		got = parse_field(s, cpu_fields, ARRAY_SIZE(cpu_fields), &z->cpus[z->nr_cpus - 1]);
	if (got < 0)
		return text_bad(&zi->text, "a number was expected", err);
	if (got > 0 && strncmp(s, "start_pfn:", 10) == 0)
		z->has_start = true;
	return 0;
}

static int zoneinfo_read(const struct procfs *fs, struct zoneinfo *zi, struct error *err)
{
	struct zone_info *z = NULL;
	char *line;
	int rc;

	*zi = (struct zoneinfo){0};
	rc = text_open(&zi->text, fs, "proc/zoneinfo", err);
	while (rc == 0 && (line = text_line(&zi->text))) {
		const char *rest;
		uint64_t node;
		unsigned int type;

		if (parse_zone_name(line, &node, &type, &rest)) {
			z = zoneinfo_add(zi, node, type);
			if (!z)
				rc = error_set(err, ENOMEM, "%s: out of memory", zi->text.path);
		} else if (!z) {
			rc = text_bad(&zi->text, "expected \"Node N, zone NAME\"", err);
		} else {
			rc = zoneinfo_line(zi, z, line + strspn(line, " \t"), err);
		}
	}
	if (rc == 0 && zi->nr_zones == 0)
		rc = text_bad(&zi->text, "the file is empty", err);
	if (rc)
		zoneinfo_free(zi);
	return rc;
}

/* Zones that the page allocator has no frames in are left out of a machine. */
static bool zone_is_used(const struct zone_info *z)
{
	return z->present > 0 && z->type != ZONE_DEVICE;
}

/*
 * The kernel's protection[j] is for requests whose highest zone is the node's j-th; ours goes by type.
 * The watermarks are printed with the boost added.
 */
static void zone_from_info(const struct zoneinfo *zi, const struct zone_info *z, struct zone *zone)
{
	*zone = (struct zone){
		.start = z->start,
		.end = z->start + z->spanned,
		.present = z->present,
		.managed = z->managed,
		.node = (uint16_t)z->node,
		.type = (uint8_t)z->type,
		.watermark =
			{
				.min = z->min - min_u64(z->min, z->boost),
				.low = z->low - min_u64(z->low, z->boost),
				.high = z->high - min_u64(z->high, z->boost),
				.promo = z->promo - min_u64(z->promo, z->boost),
			},
	};
	for (size_t i = 0; i < zi->nr_zones; i++) {
		const struct zone_info *other = &zi->zones[i];

		if (other->node == z->node && other->type < ZONE_TYPES &&
		    other->ordinal < z->nr_protection)
			zone->lowmem_reserve[other->type] = z->protection[other->ordinal];
	}
}

static int machine_index_of(const struct machine *m, uint64_t node, unsigned int type)
{
	for (uint32_t i = 0; i < m->nr_zones; i++)
		if (m->zones[i].node == node && m->zones[i].type == type)
			return (int)i;
	return -1;
}

/* ---- iomem ---- */

struct ranges {
	struct pfn_range *range;
	size_t n;
};

static int ranges_add(struct ranges *r, struct pfn_range range)
{
	struct pfn_range *larger = realloc(r->range, (r->n + 1) * sizeof(*larger));

	if (!larger)
		return -ENOMEM;
	r->range = larger;
	r->range[r->n++] = range;
	return 0;
}

static int range_order(const void *a, const void *b)
{
	pfn_t x = ((const struct pfn_range *)a)->start, y = ((const struct pfn_range *)b)->start;

	return x < y ? -1 : x > y;
}

/* "00100000-bfffffff : System RAM", at any depth; a frame counts if it lies inside entirely. */
static int iomem_line(const struct text *t, const char *line, struct ranges *ram, bool *hidden,
		      struct error *err)
{
	uint64_t first, last;
	int at = 0;

	if (sscanf(line, " %" SCNx64 "-%" SCNx64 " : %n", &first, &last, &at) != 2 || at == 0)
		return text_bad(t, "expected \"START-END : NAME\" in hexadecimal", err);
	if (strncmp(line + at, "System RAM", 10) != 0)
		return 0;
	if (first == 0 && last == 0) {
		*hidden = true;
		return 0;
	}
	if (last < first)
		return text_bad(t, "a range ends before it starts", err);
	first = (first >> PAGE_SHIFT_DEFAULT) + ((first & 0xfff) != 0);
	last = last == UINT64_MAX ? last >> PAGE_SHIFT_DEFAULT : (last + 1) >> PAGE_SHIFT_DEFAULT;
	if (first >= last)
		return 0;
	if (ranges_add(ram, (struct pfn_range){first, last}))
		return error_set(err, ENOMEM, "%s: out of memory", t->path);
	return 0;
}

/* The RAM of the machine, ascending. */
static int iomem_read(const struct procfs *fs, struct ranges *ram, struct error *err)
{
	struct text t;
	bool hidden = false;
	char *line;
	int rc;

	rc = text_open(&t, fs, "proc/iomem", err);
	if (rc)
		return rc;
	while (rc == 0 && (line = text_line(&t)))
		rc = iomem_line(&t, line, ram, &hidden, err);
	if (rc == 0 && ram->n == 0)
		rc = hidden ? error_set(err, EACCES, "%s: addresses are hidden; run as root",
					t.path)
			    : text_bad(&t, "no \"System RAM\" in the whole file", err);
	if (rc == 0)
		qsort(ram->range, ram->n, sizeof(*ram->range), range_order);
	text_close(&t);
	return rc;
}

/* What of each zone's span is not RAM is a hole. Zones and RAM ranges both ascend only per node. */
static int add_holes(struct machine *m, const struct ranges *ram, struct error *err)
{
	struct ranges holes = {0};
	int rc = 0;

	for (uint32_t i = 0; i < m->nr_zones; i++) {
		pfn_t at = m->zones[i].start, end = m->zones[i].end;

		for (size_t r = 0; r <= ram->n && at < end && rc == 0; r++) {
			pfn_t start = r < ram->n ? min_u64(ram->range[r].start, end) : end;

			if (at < start)
				rc = ranges_add(&holes, (struct pfn_range){at, start});
			if (r < ram->n)
				at = max_u64(at, ram->range[r].end);
		}
	}
	if (rc == 0 && holes.n)
		qsort(holes.range, holes.n, sizeof(*holes.range), range_order);
	for (size_t i = 0; i < holes.n && rc == 0; i++)
		rc = machine_add_absent(m, holes.range[i], ABSENT_HOLE, err);
	free(holes.range);
	if (rc == -ENOMEM)
		return error_set(err, ENOMEM, "machine description: out of memory");
	return rc;
}

/* ---- nodes ---- */

/* "0-3,8": the CPUs of @node. */
static int parse_cpulist(struct text *t, uint16_t node, struct machine *m, struct error *err)
{
	const char *s = text_line(t);

	while (s && !parse_end(s)) {
		uint64_t first, last;

		if (!parse_number(&s, &first))
			return text_bad(t, "not a list of CPU numbers", err);
		last = first;
		if (*s == '-') {
			s++;
			if (!parse_number(&s, &last) || last < first)
				return text_bad(t, "not a list of CPU numbers", err);
		}
		for (uint64_t cpu = first; cpu <= last && cpu < m->nr_cpus; cpu++)
			m->node_of_cpu[cpu] = node;
		if (*s == ',')
			s++;
	}
	return 0;
}

static int read_nodes(const struct procfs *fs, struct machine *m, struct error *err)
{
	/* Without NUMA there is nothing to tell, and no such files. */
	for (uint32_t node = 0; m->nr_nodes > 1 && node < m->nr_nodes; node++) {
		char name[64];
		struct text t;
		int rc;

		snprintf(name, sizeof(name), "sys/devices/system/node/node%" PRIu32 "/cpulist",
			 node);
		rc = text_open(&t, fs, name, err);
		if (rc == -ENOENT && machine_index_of(m, node, ZONE_NORMAL) < 0)
			continue; /* node numbers may have gaps */
		if (rc == 0)
			rc = parse_cpulist(&t, (uint16_t)node, m, err);
		text_close(&t);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- pagetypeinfo and buddyinfo ---- */

static unsigned int migratetype_of(const char *name, size_t length)
{
	for (unsigned int t = 0; t < MIGRATE_TYPES; t++) {
		const char *known = migratetype_name(t);

		if (strlen(known) == length && strncasecmp(known, name, length) == 0)
			return t;
	}
	return MIGRATE_UNKNOWN;
}

/* The header "Number of blocks type  Unmovable  Movable ...": what each column counts. */
static int parse_type_columns(const struct text *t, const char *s, struct migratetype_names *names,
			      struct error *err)
{
	names->count = 0;
	for (;;) {
		size_t n;

		while (isspace((unsigned char)*s))
			s++;
		n = strcspn(s, " \t");
		if (n == 0)
			break;
		if (names->count == KERNEL_MIGRATETYPES_MAX)
			return text_bad(t, "too many migratetypes", err);
		names->type[names->count++] = (uint8_t)migratetype_of(s, n);
		s += n;
	}
	if (names->count == 0)
		return text_bad(t, "no migratetype is named", err);
	return 0;
}

static const char blocks_header[] = "Number of blocks type";

int procfs_migratetypes(const struct procfs *fs, struct migratetype_names *names, struct error *err)
{
	struct text t;
	char *line;
	int rc;

	rc = text_open(&t, fs, "proc/pagetypeinfo", err);
	if (rc)
		return rc;
	*names = (struct migratetype_names){0};
	while (rc == 0 && !names->count && (line = text_line(&t)))
		if (strncmp(line, blocks_header, sizeof(blocks_header) - 1) == 0)
			rc = parse_type_columns(&t, line + sizeof(blocks_header) - 1, names, err);
	if (rc == 0 && !names->count)
		rc = text_bad(&t, "the file ends without \"Number of blocks type\"", err);
	text_close(&t);
	return rc;
}

static int read_pageblock_order(const struct procfs *fs, uint32_t *order, struct error *err)
{
	static const char key[] = "Page block order:";
	struct text t;
	uint64_t value;
	const char *s;
	char *line;
	int rc;

	rc = text_open(&t, fs, "proc/pagetypeinfo", err);
	if (rc)
		return rc;
	line = text_line(&t);
	s = line ? line + sizeof(key) - 1 : NULL;
	if (!line || strncmp(line, key, sizeof(key) - 1) != 0 || !parse_number(&s, &value) ||
	    !parse_end(s))
		rc = text_bad(&t, "expected \"Page block order: N\"", err);
	else if (value > MAX_ORDER)
		rc = text_bad(&t, "pageblocks above order 10 are not supported", err);
	else
		*order = (uint32_t)value;
	text_close(&t);
	return rc;
}

/* Exactly NR_ORDERS numbers and nothing behind. */
static int parse_orders(const struct text *t, const char *s, uint64_t *counts, struct error *err)
{
	for (unsigned int o = 0; o < NR_ORDERS; o++)
		if (!parse_number(&s, &counts[o]))
			return text_bad(t, "expected 11 counts, one per order", err);
	if (!parse_end(s))
		return text_bad(t, "more than 11 orders are not supported", err);
	return 0;
}

static int read_buddyinfo(const struct procfs *fs, struct frame_map *map, struct error *err)
{
	struct text t;
	char *line;
	int rc;

	rc = text_open(&t, fs, "proc/buddyinfo", err);
	if (rc)
		return rc;
	while (rc == 0 && (line = text_line(&t))) {
		uint64_t node, counts[NR_ORDERS];
		unsigned int type;
		const char *rest;
		int zone;

		if (!parse_zone_name(line, &node, &type, &rest)) {
			rc = text_bad(&t, "expected \"Node N, zone NAME\" and counts", err);
			break;
		}
		rc = parse_orders(&t, rest, counts, err);
		zone = machine_index_of(map->machine, node, type);
		if (rc == 0 && zone >= 0)
			memcpy(map->zones[zone].nr_free, counts, sizeof(counts));
	}
	text_close(&t);
	return rc;
}

/* "Node 0, zone Normal, type Movable  1 2 3 ...", or without type in the table of blocks. */
static int pagetypeinfo_line(const struct text *t, const char *line,
			     const struct migratetype_names *columns, struct frame_map *map,
			     struct error *err)
{
	uint64_t node, ignored[NR_ORDERS], value;
	struct zone_counts *counts;
	unsigned int type;
	const char *s;
	int zone;

	if (!parse_zone_name(line, &node, &type, &s))
		return text_bad(t, "expected \"Node N, zone NAME\" and counts", err);
	zone = machine_index_of(map->machine, node, type);
	counts = zone >= 0 ? &map->zones[zone] : NULL;
	if (strncmp(s, ", type", 6) == 0) {
		unsigned int mt;
		size_t n;

		s += 6;
		s += strspn(s, " \t");
		n = strcspn(s, " \t");
		mt = migratetype_of(s, n);
		return parse_orders(
			t, s + n, counts && mt < MIGRATE_TYPES ? counts->free_by_type[mt] : ignored,
			err);
	}
	if (!columns->count)
		return text_bad(t, "expected \", type NAME\" after the zone", err);
	for (unsigned int i = 0; i < columns->count; i++) {
		if (!parse_number(&s, &value))
			return text_bad(t, "fewer counts than migratetypes", err);
		if (counts && columns->type[i] < MIGRATE_TYPES)
			counts->blocks_by_type[columns->type[i]] = value;
	}
	return parse_end(s) ? 0 : text_bad(t, "more counts than migratetypes", err);
}

static int read_pagetypeinfo(const struct procfs *fs, struct frame_map *map, struct error *err)
{
	struct migratetype_names columns = {0};
	struct text t;
	char *line;
	int rc;

	rc = text_open(&t, fs, "proc/pagetypeinfo", err);
	if (rc)
		return rc;
	while (rc == 0 && (line = text_line(&t))) {
		if (strncmp(line, blocks_header, sizeof(blocks_header) - 1) == 0)
			rc = parse_type_columns(&t, line + sizeof(blocks_header) - 1, &columns,
						err);
		else if (strncmp(line, "Number of mixed blocks", 22) == 0)
			break; /* page_owner's table: not about free lists */
		else if (strncmp(line, "Node", 4) == 0)
			rc = pagetypeinfo_line(&t, line, &columns, map, err);
		else if (strncmp(line, "Page", 4) != 0 && strncmp(line, "Free pages", 10) != 0 &&
			 !parse_end(line))
			rc = text_bad(&t, "unknown line", err);
	}
	if (rc == 0 && !columns.count)
		rc = text_bad(&t, "the file ends without \"Number of blocks type\"", err);
	text_close(&t);
	return rc;
}

/* ---- the interface ---- */

static int machine_shape(const struct zoneinfo *zi, uint32_t *nr_cpus, uint32_t *nr_nodes,
			 struct error *err)
{
	*nr_cpus = 0;
	*nr_nodes = 0;
	for (size_t i = 0; i < zi->nr_zones; i++) {
		const struct zone_info *z = &zi->zones[i];

		if (!zone_is_used(z))
			continue;
		if (z->type == ZONE_TYPES || !z->has_start || z->spanned < z->present)
			return error_set(
				err, EBADMSG,
				"%s: line %u: zone of an unknown name, without start_pfn, or "
				"with more present than spanned; this kernel's format is not "
				"known, please report it",
				zi->text.path, z->line);
		*nr_nodes = (uint32_t)max_u64(*nr_nodes, z->node + 1);
		for (size_t c = 0; c < z->nr_cpus; c++)
			*nr_cpus = (uint32_t)max_u64(*nr_cpus, z->cpus[c].cpu + 1);
	}
	if (*nr_cpus == 0)
		return error_set(err, EBADMSG, "%s: no populated zone with page sets of CPUs",
				 zi->text.path);
	return 0;
}

static int machine_fill(const struct procfs *fs, const struct zoneinfo *zi, struct machine *m,
			struct error *err)
{
	struct ranges ram = {0};
	int rc;

	rc = read_pageblock_order(fs, &m->pageblock_order, err);
	for (size_t i = 0; i < zi->nr_zones && rc == 0; i++) {
		struct zone zone;

		if (!zone_is_used(&zi->zones[i]))
			continue;
		zone_from_info(zi, &zi->zones[i], &zone);
		rc = machine_add_zone(m, &zone, err);
		if (rc)
			error_prefix(err, "%s: line %u", zi->text.path, zi->zones[i].line);
	}
	if (rc == 0)
		rc = iomem_read(fs, &ram, err);
	if (rc == 0)
		rc = add_holes(m, &ram, err);
	if (rc == 0)
		rc = read_nodes(fs, m, err);
	free(ram.range);
	return rc;
}

int procfs_machine(const struct procfs *fs, struct machine **m, struct error *err)
{
	struct zoneinfo zi;
	uint32_t nr_cpus, nr_nodes;
	int rc;

	*m = NULL;
	rc = zoneinfo_read(fs, &zi, err);
	if (rc)
		return rc;
	rc = machine_shape(&zi, &nr_cpus, &nr_nodes, err);
	if (rc == 0)
		rc = machine_create(nr_cpus, nr_nodes, m, err);
	if (rc == 0)
		rc = machine_fill(fs, &zi, *m, err);
	if (rc) {
		machine_destroy(*m);
		*m = NULL;
	}
	zoneinfo_free(&zi);
	return rc;
}

int procfs_counts(const struct procfs *fs, struct frame_map *map, struct error *err)
{
	struct zoneinfo zi;
	int rc;

	/* First what moves fastest, so that it is nearest to the scan. */
	rc = read_buddyinfo(fs, map, err);
	if (rc == 0)
		rc = zoneinfo_read(fs, &zi, err);
	if (rc)
		return rc;
	for (size_t i = 0; i < zi.nr_zones; i++) {
		const struct zone_info *z = &zi.zones[i];
		int index = machine_index_of(map->machine, z->node, z->type);
		struct zone_counts *counts;
		struct zone zone;

		if (index < 0)
			continue;
		counts = &map->zones[index];
		zone_from_info(&zi, z, &zone);
		counts->managed = z->managed;
		counts->free_frames = z->free;
		counts->watermark = zone.watermark;
		counts->boost = z->boost;
		for (size_t c = 0; c < z->nr_cpus; c++) {
			const struct cpu_info *cpu = &z->cpus[c];

			if (cpu->cpu < map->machine->nr_cpus)
				counts->pcp[cpu->cpu] = (struct pcp_state){
					.count = (uint32_t)cpu->count,
					.high = (uint32_t)cpu->high,
					.batch = (uint32_t)cpu->batch,
					.high_min = (uint32_t)cpu->high_min,
					.high_max = (uint32_t)cpu->high_max,
				};
		}
	}
	zoneinfo_free(&zi);
	return read_pagetypeinfo(fs, map, err);
}

int procfs_managed(const struct procfs *fs, const struct machine *m, uint64_t *managed,
		   struct error *err)
{
	struct zoneinfo zi;
	int rc;

	rc = zoneinfo_read(fs, &zi, err);
	if (rc)
		return rc;
	memset(managed, 0, m->nr_zones * sizeof(*managed));
	for (size_t i = 0; i < zi.nr_zones; i++) {
		int index = machine_index_of(m, zi.zones[i].node, zi.zones[i].type);

		if (index >= 0)
			managed[index] = zi.zones[i].managed;
	}
	zoneinfo_free(&zi);
	return 0;
}

uint64_t procfs_migrated(const struct procfs *fs)
{
	static const char key[] = "pgmigrate_success ";
	uint64_t frames = 0;
	struct text t;
	char *line;

	if (text_open(&t, fs, "proc/vmstat", NULL))
		return 0;
	while ((line = text_line(&t))) {
		const char *s = line + sizeof(key) - 1;

		if (strncmp(line, key, sizeof(key) - 1) != 0)
			continue;
		if (!parse_number(&s, &frames) || !parse_end(s))
			frames = 0;
		break;
	}
	text_close(&t);
	return frames;
}
