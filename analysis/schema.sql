-- SPDX-License-Identifier: MIT
-- The results database, version 3 (PRAGMA user_version): its tables, but for that of accuracy.sql. The
-- views are in views.sql, and docs/results.md explains all. What older versions lack is added by store.c
-- when one is opened.
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

-- One back end on one trace with one configuration. Ids are never reused. The last three columns are a
-- benchmark's, else NULL: how often it was measured (noisy metrics are the median), rounds (NULL: of a
-- kind without), percent of memory in use at the start. Version 1 does not have them.
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
	process_start  INTEGER NOT NULL,
	repetitions    INTEGER,
	rounds         INTEGER,
	fill           INTEGER
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
	sample  INTEGER NOT NULL, -- 0: before the first event; of a benchmark, its round
	is_end  INTEGER NOT NULL CHECK (is_end IN (0, 1)),
	event   INTEGER NOT NULL, -- events replayed, or operations done, so far
	time_ns INTEGER NOT NULL, -- trace time; 0 in a benchmark
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
	source      TEXT    NOT NULL, -- 'engine', 'backend', 'kernel', 'explained': results/result.h says whose
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
