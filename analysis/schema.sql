-- SPDX-License-Identifier: MIT
-- The results database, version 6 (PRAGMA user_version): its tables. The views are in views.sql, and
-- docs/results.md explains all. When a file of an older version is opened, migrate.sql moves aside what
-- has changed, the tables that are missing are made from here, and what was moved aside is copied.
-- Times are nanoseconds; counts that do not fit 63 bits do not occur, except seeds, which are
-- stored bit for bit (a seed of 2^63 or more reads as negative).

CREATE TABLE IF NOT EXISTS host (
	id           INTEGER PRIMARY KEY,
	cpu_model    TEXT    NOT NULL,
	cores        INTEGER NOT NULL,
	memory_bytes INTEGER NOT NULL,
	kernel       TEXT    NOT NULL,
	thp          TEXT    NOT NULL,
	governor     TEXT    NOT NULL,
	UNIQUE (cpu_model, cores, memory_bytes, kernel, thp, governor)
) STRICT;

CREATE TABLE IF NOT EXISTS trace (
	id     INTEGER PRIMARY KEY,
	digest TEXT NOT NULL UNIQUE,
	path   TEXT NOT NULL,
	note   TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS backend (
	id      INTEGER PRIMARY KEY,
	name    TEXT NOT NULL UNIQUE,
	summary TEXT NOT NULL,
	role    TEXT NOT NULL -- 'reference' (the recorded placement), 'candidate', 'harness'
) STRICT;

-- One back end on one trace with one configuration: what identifies it. Ids are never reused.
CREATE TABLE IF NOT EXISTS run (
	id            INTEGER PRIMARY KEY AUTOINCREMENT,
	status        TEXT    NOT NULL
		CHECK (status IN ('running', 'done', 'failed', 'crashed', 'interrupted')),
	status_text   TEXT,
	host_id       INTEGER NOT NULL REFERENCES host (id),
	trace_id      INTEGER REFERENCES trace (id), -- NULL: a benchmark, or a trace without a digest
	backend_id    INTEGER NOT NULL REFERENCES backend (id),
	spec          TEXT    NOT NULL,
	options       TEXT    NOT NULL,
	mode          TEXT    NOT NULL,
	seed          INTEGER NOT NULL,
	threads       INTEGER NOT NULL,
	block_order   INTEGER NOT NULL, -- -1: not a benchmark of one order
	label         TEXT,
	point_id      TEXT    NOT NULL,
	build_id      TEXT    NOT NULL,
	start_ns      INTEGER NOT NULL, -- since 1970
	-- Who writes it: tells a run in progress from one whose process is gone.
	boot_id       TEXT    NOT NULL,
	pid           INTEGER NOT NULL,
	process_start INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS run_by_point ON run (point_id);
CREATE INDEX IF NOT EXISTS run_by_trace ON run (trace_id, backend_id);
CREATE INDEX IF NOT EXISTS run_unfinished ON run (id) WHERE status = 'running';

-- All else that was chosen or found for it. A run that does not have a key is like one where it has its
-- usual value.
CREATE TABLE IF NOT EXISTS run_setting (
	run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	key    TEXT    NOT NULL,
	value  TEXT    NOT NULL, -- as a user would spell it; numbers in decimal
	unit   TEXT    NOT NULL, -- '': none
	role   TEXT    NOT NULL -- what was asked, how carefully, what was found
		CHECK (role IN ('question', 'care', 'fact')),
	usual  INTEGER NOT NULL CHECK (usual IN (0, 1)),
	PRIMARY KEY (run_id, key)
) STRICT, WITHOUT ROWID;

-- The ids hold within this file only, and stay when later versions add metrics between.
CREATE TABLE IF NOT EXISTS metric_info (
	id        INTEGER PRIMARY KEY,
	source    TEXT    NOT NULL, -- '': the engine's own table; else who brings the row
	name      TEXT    NOT NULL,
	position  INTEGER NOT NULL, -- where to show it among those of its source
	unit      TEXT    NOT NULL,
	direction TEXT    NOT NULL CHECK (direction IN ('neutral', 'higher', 'lower')),
	kind      TEXT    NOT NULL CHECK (kind IN ('exact', 'noisy', 'modelled')),
	model     TEXT    CHECK ((model NOT NULL) = (kind = 'modelled')), -- whose costs
	help      TEXT    NOT NULL,
	UNIQUE (source, name)
) STRICT;

CREATE TABLE IF NOT EXISTS metric (
	run_id    INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	metric_id INTEGER NOT NULL REFERENCES metric_info (id),
	value     REAL, -- NULL: undefined
	PRIMARY KEY (run_id, metric_id)
) STRICT, WITHOUT ROWID;

-- How far the repetitions of a run lay apart in a noisy metric, of which the table above has the median. A run
-- without repetitions has no rows here.
CREATE TABLE IF NOT EXISTS run_spread (
	run_id    INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	metric_id INTEGER NOT NULL REFERENCES metric_info (id),
	value     REAL    NOT NULL, -- largest less smallest, as a share of the median
	PRIMARY KEY (run_id, metric_id)
) STRICT, WITHOUT ROWID;

-- What a back end counted until its end.
CREATE TABLE IF NOT EXISTS run_counter (
	run_id    INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	metric_id INTEGER NOT NULL REFERENCES metric_info (id),
	value     INTEGER NOT NULL,
	PRIMARY KEY (run_id, metric_id)
) STRICT, WITHOUT ROWID;

-- What a back end said of its allocations' ways.
CREATE TABLE IF NOT EXISTS run_flag (
	run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	flag   TEXT    NOT NULL, -- 'zeroed', 'pcp_hit', 'refill', 'fallback', 'needs_install'
	allocs INTEGER NOT NULL, -- successful ones that had it
	PRIMARY KEY (run_id, flag)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS sample (
	run_id  INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	sample  INTEGER NOT NULL, -- 0: before the first event; of a benchmark, its round
	is_end  INTEGER NOT NULL CHECK (is_end IN (0, 1)),
	event   INTEGER NOT NULL, -- events replayed, or operations done, so far
	time_ns INTEGER NOT NULL, -- trace time; 0 in a benchmark
	PRIMARY KEY (run_id, sample)
) STRICT, WITHOUT ROWID;

-- The bulk of a long run: keyed in the order it is written, and by number.
CREATE TABLE IF NOT EXISTS sample_metric (
	run_id    INTEGER NOT NULL,
	sample    INTEGER NOT NULL,
	metric_id INTEGER NOT NULL REFERENCES metric_info (id),
	value     REAL,
	PRIMARY KEY (run_id, sample, metric_id),
	FOREIGN KEY (run_id, sample) REFERENCES sample (run_id, sample) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- What a back end had counted by then.
CREATE TABLE IF NOT EXISTS sample_counter (
	run_id    INTEGER NOT NULL,
	sample    INTEGER NOT NULL,
	metric_id INTEGER NOT NULL REFERENCES metric_info (id),
	value     INTEGER NOT NULL,
	PRIMARY KEY (run_id, sample, metric_id),
	FOREIGN KEY (run_id, sample) REFERENCES sample (run_id, sample)
		ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS latency (
	run_id      INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	op          TEXT    NOT NULL CHECK (op IN ('alloc', 'free', 'touch', 'late')),
	order_class TEXT    NOT NULL, -- '0', '1-3', '4-8', '9-10'
	path        TEXT    NOT NULL, -- 'plain' (the back end says nothing), 'hit', 'refill', 'fallback'
	cpu         INTEGER NOT NULL,
	count       INTEGER NOT NULL,
	mean_ns     REAL, -- the four are NULL while count is 0
	p50_ns      REAL,
	p99_ns      REAL,
	max_ns      REAL,
	histogram   BLOB    NOT NULL, -- merges exactly
	PRIMARY KEY (run_id, op, order_class, path, cpu)
) STRICT;

-- The slowest operations, where they were asked for.
CREATE TABLE IF NOT EXISTS outlier (
	run_id      INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	rank        INTEGER NOT NULL, -- 0: the slowest
	op          TEXT    NOT NULL CHECK (op IN ('alloc', 'free', 'touch')),
	ns          INTEGER NOT NULL, -- less what a time stamp takes
	event       INTEGER NOT NULL, -- its number in the trace, the first is 1
	time_ns     INTEGER NOT NULL, -- trace time
	block_order INTEGER NOT NULL,
	cpu         INTEGER NOT NULL,
	migratetype INTEGER NOT NULL,
	path        TEXT    NOT NULL, -- as in latency
	pfn         INTEGER, -- NULL: it was refused
	PRIMARY KEY (run_id, rank)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS freelist (
	run_id      INTEGER NOT NULL,
	sample      INTEGER NOT NULL,
	source      TEXT    NOT NULL, -- 'engine', 'backend', 'kernel', 'explained': results/result.h says whose
	block_order INTEGER NOT NULL,
	blocks      INTEGER NOT NULL,
	PRIMARY KEY (run_id, sample, source, block_order),
	FOREIGN KEY (run_id, sample) REFERENCES sample (run_id, sample)
		ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS blockmap (
	run_id      INTEGER NOT NULL,
	sample      INTEGER NOT NULL,
	layer       TEXT    NOT NULL, -- 'held', 'unmovable', 'youngest', 'oldest'
	first_block INTEGER NOT NULL, -- number of the first 2 MiB block
	blocks      INTEGER NOT NULL,
	base        INTEGER CHECK (base < sample), -- the earlier map of the layer; NULL: all zeros
	difference  BLOB    NOT NULL, -- of the blocks' values, 65535: hole or reserved frame
	PRIMARY KEY (run_id, sample, layer, first_block),
	FOREIGN KEY (run_id, sample) REFERENCES sample (run_id, sample)
		ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT;

-- Who keeps a 2 MiB block from being free.
CREATE TABLE IF NOT EXISTS holder (
	run_id      INTEGER NOT NULL,
	sample      INTEGER NOT NULL,
	block       INTEGER NOT NULL, -- 2 MiB block number
	rank        INTEGER NOT NULL, -- 0: holds most
	class       TEXT    NOT NULL, -- 'prefill', 'page_cache', 'object', or a daemon's
	block_order INTEGER NOT NULL,
	migratetype INTEGER NOT NULL,
	gfp         INTEGER NOT NULL,
	context     INTEGER NOT NULL, -- 0: unknown
	frames      INTEGER NOT NULL, -- of this block
	since_ns    INTEGER NOT NULL, -- trace time at which the oldest of them was allocated
	PRIMARY KEY (run_id, sample, block, rank),
	FOREIGN KEY (run_id, sample) REFERENCES sample (run_id, sample)
		ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
) STRICT, WITHOUT ROWID;

-- How often a back end chose as the kernel did that recorded the trace, for one group of choices; of
-- fidelity runs only. docs/results.md explains the words.
CREATE TABLE IF NOT EXISTS accuracy (
	run_id    INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	variant   TEXT    NOT NULL, -- what was known: 'b', 'a', 'lifo'
	class     TEXT    NOT NULL, -- where the kernel found the block: 'hit', 'refill', 'direct', 'all'
	dimension TEXT    NOT NULL
		CHECK (dimension IN ('total', 'order', 'migratetype', 'tenth', 'cause')),
	key       INTEGER NOT NULL, -- 0; order; migratetype; 1 to 10; rank of a cause, 1 the most frequent
	cause     TEXT    CHECK ((cause NOT NULL) = (dimension = 'cause')),
	choices   INTEGER NOT NULL, -- of the kernel's; of a cause, how often it was this one
	correct   INTEGER NOT NULL CHECK (correct BETWEEN 0 AND choices),
	PRIMARY KEY (run_id, variant, class, dimension, key)
) STRICT, WITHOUT ROWID;

-- What stands against a run, finished or not: docs/results.md explains the names. Nothing that has a row
-- here is ever called best.
CREATE TABLE IF NOT EXISTS doubt (
	run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	name   TEXT    NOT NULL,
	count  INTEGER NOT NULL CHECK (count > 0),
	failed INTEGER NOT NULL CHECK (failed IN (0, 1)), -- a check of the back end has failed
	PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS warning (
	run_id INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
	line   INTEGER NOT NULL,
	text   TEXT    NOT NULL,
	PRIMARY KEY (run_id, line)
) STRICT, WITHOUT ROWID;
