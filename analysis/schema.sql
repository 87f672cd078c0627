-- SPDX-License-Identifier: MIT
-- The results database, version 1 (PRAGMA user_version). docs/results.md explains it.
-- Times are nanoseconds; counts that do not fit 63 bits do not occur, except seeds, which are
-- stored bit for bit (a seed of 2^63 or more reads as negative).

CREATE TABLE host (
	id           INTEGER PRIMARY KEY,
	cpu_model    TEXT    NOT NULL,
	cores        INTEGER NOT NULL,
	memory_bytes INTEGER NOT NULL,
	kernel       TEXT    NOT NULL,
	thp          TEXT    NOT NULL,
	governor     TEXT    NOT NULL,
	UNIQUE (cpu_model, cores, memory_bytes, kernel, thp, governor)
) STRICT;

CREATE TABLE trace (
	id     INTEGER PRIMARY KEY,
	digest TEXT NOT NULL UNIQUE,
	path   TEXT NOT NULL,
	note   TEXT NOT NULL
) STRICT;

CREATE TABLE backend (
	id      INTEGER PRIMARY KEY,
	name    TEXT NOT NULL UNIQUE,
	summary TEXT NOT NULL,
	role    TEXT NOT NULL -- 'reference' (the recorded placement), 'candidate', 'harness'
) STRICT;

-- One back end on one trace with one configuration. Ids are never reused.
CREATE TABLE run (
	id             INTEGER PRIMARY KEY AUTOINCREMENT,
	status         TEXT    NOT NULL
		CHECK (status IN ('running', 'done', 'failed', 'crashed', 'interrupted')),
	status_text    TEXT,
	host_id        INTEGER NOT NULL REFERENCES host (id),
	trace_id       INTEGER REFERENCES trace (id), -- NULL: a benchmark without a trace
	backend_id     INTEGER NOT NULL REFERENCES backend (id),
	spec           TEXT    NOT NULL,
	options        TEXT    NOT NULL,
	mode           TEXT    NOT NULL,
	memory         TEXT    NOT NULL,
	prefill        TEXT    NOT NULL,
	oracle         INTEGER NOT NULL CHECK (oracle IN (0, 1)),
	seed           INTEGER NOT NULL,
	threads        INTEGER NOT NULL,
	cpus           INTEGER NOT NULL,
	block_order    INTEGER NOT NULL, -- -1: not a benchmark of one order
	label          TEXT,
	point_id       TEXT    NOT NULL,
	build_id       TEXT    NOT NULL,
	events         INTEGER NOT NULL,
	ops            INTEGER NOT NULL,
	managed_frames INTEGER NOT NULL,
	start_ns       INTEGER NOT NULL, -- since 1970
	-- Who writes it: tells a run in progress from one whose process is gone.
	boot_id        TEXT    NOT NULL,
	pid            INTEGER NOT NULL,
	process_start  INTEGER NOT NULL
) STRICT;
CREATE INDEX run_by_point ON run (point_id);
CREATE INDEX run_by_trace ON run (trace_id, backend_id);
CREATE INDEX run_unfinished ON run (id) WHERE status = 'running';

-- The ids hold within this file only, and stay when later versions add metrics between.
CREATE TABLE metric_info (
	id        INTEGER PRIMARY KEY,
	name      TEXT    NOT NULL UNIQUE,
	position  INTEGER NOT NULL, -- where to show it
	unit      TEXT    NOT NULL,
	direction TEXT    NOT NULL CHECK (direction IN ('neutral', 'higher', 'lower')),
	kind      TEXT    NOT NULL CHECK (kind IN ('exact', 'noisy')),
	help      TEXT    NOT NULL
) STRICT;

CREATE TABLE metric (
	run_id    INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	metric_id INTEGER NOT NULL REFERENCES metric_info (id),
	value     REAL, -- NULL: undefined
	PRIMARY KEY (run_id, metric_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sample (
	run_id  INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	sample  INTEGER NOT NULL, -- 0: before the first event
	is_end  INTEGER NOT NULL CHECK (is_end IN (0, 1)),
	event   INTEGER NOT NULL,
	time_ns INTEGER NOT NULL, -- trace time
	PRIMARY KEY (run_id, sample)
) STRICT, WITHOUT ROWID;

-- The bulk of a long run: keyed in the order it is written, and by number.
CREATE TABLE sample_metric (
	run_id    INTEGER NOT NULL,
	sample    INTEGER NOT NULL,
	metric_id INTEGER NOT NULL REFERENCES metric_info (id),
	value     REAL,
	PRIMARY KEY (run_id, sample, metric_id),
	FOREIGN KEY (run_id, sample) REFERENCES sample (run_id, sample) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE latency (
	run_id      INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	op          TEXT    NOT NULL CHECK (op IN ('alloc', 'free')),
	order_class TEXT    NOT NULL, -- '0', '1-3', '4-8', '9-10'
	cpu         INTEGER NOT NULL,
	count       INTEGER NOT NULL,
	mean_ns     REAL, -- the four are NULL while count is 0
	p50_ns      REAL,
	p99_ns      REAL,
	max_ns      REAL,
	histogram   BLOB    NOT NULL, -- merges exactly
	PRIMARY KEY (run_id, op, order_class, cpu)
) STRICT;

CREATE TABLE freelist (
	run_id      INTEGER NOT NULL,
	sample      INTEGER NOT NULL,
	source      TEXT    NOT NULL, -- 'engine', 'backend', 'kernel', 'explained': base/result.h says whose
	block_order INTEGER NOT NULL,
	blocks      INTEGER NOT NULL,
	PRIMARY KEY (run_id, sample, source, block_order),
	FOREIGN KEY (run_id, sample) REFERENCES sample (run_id, sample)
		ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE blockmap (
	run_id      INTEGER NOT NULL,
	sample      INTEGER NOT NULL,
	first_block INTEGER NOT NULL, -- number of the first 2 MiB block
	blocks      INTEGER NOT NULL,
	base        INTEGER CHECK (base < sample), -- the earlier map; NULL: all zeros
	difference  BLOB    NOT NULL, -- of held frames per block, 65535: hole or reserved frame
	PRIMARY KEY (run_id, sample, first_block),
	FOREIGN KEY (run_id, sample) REFERENCES sample (run_id, sample)
		ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT;

-- Who keeps a 2 MiB block from being free.
CREATE TABLE holder (
	run_id  INTEGER NOT NULL,
	sample  INTEGER NOT NULL,
	block   INTEGER NOT NULL,
	rank    INTEGER NOT NULL, -- 0: holds most
	class   TEXT    NOT NULL,
	context INTEGER NOT NULL,
	frames  INTEGER NOT NULL,
	PRIMARY KEY (run_id, sample, block, rank),
	FOREIGN KEY (run_id, sample) REFERENCES sample (run_id, sample)
		ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE warning (
	run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	line   INTEGER NOT NULL,
	text   TEXT    NOT NULL,
	PRIMARY KEY (run_id, line)
) STRICT, WITHOUT ROWID;

-- Every run, with names instead of ids.
CREATE VIEW v_run AS
SELECT run.id AS run_id, run.status, run.status_text,
	trace.path AS trace, trace.digest AS trace_digest,
	backend.name AS allocator, run.spec, run.options, run.label,
	run.mode, run.threads, run.memory, run.prefill, run.oracle, run.seed, run.block_order,
	run.events, run.ops, run.managed_frames,
	datetime(run.start_ns / 1000000000, 'unixepoch') AS started_utc,
	run.point_id, run.build_id, run.host_id, run.trace_id, run.backend_id
FROM run
JOIN backend ON backend.id = run.backend_id
LEFT JOIN trace ON trace.id = run.trace_id;

-- The latest finished run of each question asked. Runs that differ in how the trace was played
-- answer different questions; seed and oracle do not make a new one. Without a digest (a trace cut
-- short, a benchmark) nothing says that two runs asked the same, so each stands for itself.
CREATE VIEW v_latest AS
SELECT * FROM v_run WHERE run_id IN (
	SELECT max(id) FROM run WHERE status = 'done'
	GROUP BY coalesce(trace_id, -id), backend_id, options, label,
		mode, threads, memory, prefill, block_order);

-- Every final metric of every finished run, one row each.
CREATE VIEW v_metric AS
SELECT v_run.run_id, trace, allocator, options, label, name, value, unit, direction, kind
FROM v_run
JOIN metric ON metric.run_id = v_run.run_id
JOIN metric_info ON metric_info.id = metric.metric_id
WHERE status = 'done';

-- Every metric of every sample by name.
CREATE VIEW v_sample AS
SELECT run_id, sample, is_end, event, time_ns, name, value, unit
FROM sample
JOIN sample_metric USING (run_id, sample)
JOIN metric_info ON metric_info.id = sample_metric.metric_id;

-- The comparison: one row per latest run, the main metrics as columns.
CREATE VIEW v_comparison AS
SELECT v_latest.run_id, trace, allocator, options, label,
	max(value) FILTER (WHERE name = 'free_huge')         AS free_huge,
	max(value) FILTER (WHERE name = 'huge_score')        AS huge_score,
	max(value) FILTER (WHERE name = 'free_share_2m')     AS free_share_2m,
	max(value) FILTER (WHERE name = 'free_share_16m')    AS free_share_16m,
	max(value) FILTER (WHERE name = 'free_share_128m')   AS free_share_128m,
	max(value) FILTER (WHERE name = 'free_share_1g')     AS free_share_1g,
	max(value) FILTER (WHERE name = 'moves_to_compact')  AS moves_to_compact,
	max(value) FILTER (WHERE name = 'unmovable_blocks')  AS unmovable_blocks,
	max(value) FILTER (WHERE name = 'mixed_blocks')      AS mixed_blocks,
	max(value) FILTER (WHERE name = 'alloc_failures')    AS alloc_failures,
	max(value) FILTER (WHERE name = 'zone_mismatches')   AS zone_mismatches,
	max(value) FILTER (WHERE name = 'oracle_violations') AS oracle_violations,
	max(value) FILTER (WHERE name = 'metadata_bytes')    AS metadata_bytes,
	max(value) FILTER (WHERE name = 'ops_per_second')    AS ops_per_second,
	max(value) FILTER (WHERE name = 'alloc_ns_p50')      AS alloc_ns_p50,
	max(value) FILTER (WHERE name = 'alloc_ns_p99')      AS alloc_ns_p99,
	max(value) FILTER (WHERE name = 'free_ns_p50')       AS free_ns_p50,
	max(value) FILTER (WHERE name = 'free_ns_p99')       AS free_ns_p99
FROM v_latest
LEFT JOIN metric ON metric.run_id = v_latest.run_id
LEFT JOIN metric_info ON metric_info.id = metric.metric_id
GROUP BY v_latest.run_id
ORDER BY trace, allocator, options, label;

-- Latencies of the latest runs by operation and order class, all cpus. count, mean and max are
-- exact; the percentiles are the worst cpu's (merge the histograms for those of all cpus).
CREATE VIEW v_latency AS
SELECT v_latest.run_id, trace, allocator, options, label, op, order_class,
	count(*) AS cpus, sum(latency.count) AS count,
	sum(latency.count * mean_ns) / sum(latency.count) AS mean_ns,
	max(p50_ns) AS worst_p50_ns, max(p99_ns) AS worst_p99_ns, max(max_ns) AS max_ns
FROM v_latest
JOIN latency ON latency.run_id = v_latest.run_id
WHERE latency.count > 0
GROUP BY v_latest.run_id, op, order_class
ORDER BY trace, allocator, options, label, op, order_class;

-- How memory fragmented while the trace ran, one row per sample of the latest runs.
CREATE VIEW v_free_huge_over_time AS
SELECT v_latest.run_id, trace, allocator, options, label, sample.sample, sample.event,
	(sample.time_ns - first_value(sample.time_ns) OVER (
		PARTITION BY v_latest.run_id ORDER BY sample.sample)) / 1e9 AS seconds,
	huge.value AS free_huge, score.value AS huge_score, frames.value AS free_frames
FROM v_latest
JOIN sample ON sample.run_id = v_latest.run_id
LEFT JOIN sample_metric AS huge ON huge.run_id = sample.run_id
	AND huge.sample = sample.sample
	AND huge.metric_id = (SELECT id FROM metric_info WHERE name = 'free_huge')
LEFT JOIN sample_metric AS score ON score.run_id = sample.run_id
	AND score.sample = sample.sample
	AND score.metric_id = (SELECT id FROM metric_info WHERE name = 'huge_score')
LEFT JOIN sample_metric AS frames ON frames.run_id = sample.run_id
	AND frames.sample = sample.sample
	AND frames.metric_id = (SELECT id FROM metric_info WHERE name = 'free_frames')
ORDER BY v_latest.run_id, sample.sample;

-- Free blocks by order at the end of the latest runs: the engine's cut of its free map, the back
-- end's own lists, and what the kernel's snapshot said.
CREATE VIEW v_free_blocks AS
SELECT v_latest.run_id, trace, allocator, options, label, freelist.block_order,
	max(blocks) FILTER (WHERE source = 'engine')  AS engine,
	max(blocks) FILTER (WHERE source = 'backend') AS backend,
	max(blocks) FILTER (WHERE source = 'kernel')  AS kernel
FROM v_latest
JOIN sample ON sample.run_id = v_latest.run_id AND is_end
JOIN freelist ON freelist.run_id = sample.run_id AND freelist.sample = sample.sample
GROUP BY v_latest.run_id, freelist.block_order
ORDER BY v_latest.run_id, freelist.block_order;

-- What the runs complained about, failed ones included.
CREATE VIEW v_warning AS
SELECT v_run.run_id, trace, allocator, options, label, status, line, text
FROM v_run
JOIN warning ON warning.run_id = v_run.run_id
ORDER BY v_run.run_id, line;
