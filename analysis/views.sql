-- SPDX-License-Identifier: MIT
-- The views of a results database: made anew whenever it is opened for writing by a newer version.

-- Which runs may be called best: candidates that finished, against which nothing stands. out_for: why not, a
-- list of the role, the status, and the names of doubts. failed: a check of the back end has failed.
DROP VIEW IF EXISTS v_standing;
CREATE VIEW v_standing AS
SELECT run_id, role, out_for = '' AS may_compete, nullif(rtrim(out_for, ','), '') AS out_for,
	EXISTS (SELECT 1 FROM doubt WHERE doubt.run_id = standing.run_id AND failed) AS failed
FROM (SELECT run.id AS run_id, role,
	iif(role <> 'candidate', role || ',', '') || iif(status <> 'done', status || ',', '') ||
	coalesce((SELECT group_concat(name || ',', '') FROM (
		SELECT name FROM doubt WHERE doubt.run_id = run.id ORDER BY name)), '') AS out_for
	FROM run
	JOIN backend ON backend.id = run.backend_id) AS standing;

-- What stands against runs, one row each: finished or not.
DROP VIEW IF EXISTS v_doubt;
CREATE VIEW v_doubt AS
SELECT run.id AS run_id, trace.path AS trace, backend.name AS allocator, run.options, run.label, run.status,
	doubt.name, count, failed
FROM doubt
JOIN run ON run.id = doubt.run_id
JOIN backend ON backend.id = run.backend_id
LEFT JOIN trace ON trace.id = run.trace_id
ORDER BY run.id, doubt.name;

-- Every run, with names instead of ids. verb: what made it. settings: what was asked unlike usual, in one
-- canonical line. The columns from memory on are settings that v_setting has too, NULL where not said;
-- memory is the backing's old name.
DROP VIEW IF EXISTS v_run;
CREATE VIEW v_run AS
SELECT run.id AS run_id, run.status, run.status_text,
	trace.path AS trace, trace.digest AS trace_digest,
	backend.name AS allocator, run.spec, run.options, run.label,
	run.mode, run.threads,
	(SELECT value FROM run_setting WHERE run_id = run.id AND key = 'backing') AS memory,
	(SELECT value FROM run_setting WHERE run_id = run.id AND key = 'prefill') AS prefill,
	(SELECT value = 'true' FROM run_setting WHERE run_id = run.id AND key = 'oracle') AS oracle,
	run.seed, run.block_order,
	(SELECT CAST(nullif(value, '') AS INTEGER) FROM run_setting WHERE run_id = run.id AND key = 'events') AS events,
	(SELECT CAST(nullif(value, '') AS INTEGER) FROM run_setting WHERE run_id = run.id AND key = 'ops') AS ops,
	(SELECT CAST(nullif(value, '') AS INTEGER) FROM run_setting
		WHERE run_id = run.id AND key = 'managed_frames') AS managed_frames,
	datetime(run.start_ns / 1000000000, 'unixepoch') AS started_utc,
	run.point_id, run.build_id, run.host_id, run.trace_id, run.backend_id,
	(SELECT CAST(nullif(value, '') AS INTEGER) FROM run_setting WHERE run_id = run.id AND key = 'cpus') AS cpus,
	(SELECT CAST(nullif(value, '') AS INTEGER) FROM run_setting
		WHERE run_id = run.id AND key = 'repetitions') AS repetitions,
	(SELECT CAST(nullif(value, '') AS INTEGER) FROM run_setting WHERE run_id = run.id AND key = 'rounds') AS rounds,
	(SELECT CAST(nullif(value, '') AS INTEGER) FROM run_setting WHERE run_id = run.id AND key = 'fill') AS fill,
	(SELECT value FROM run_setting WHERE run_id = run.id AND key = 'backing') AS backing,
	CASE WHEN mode = 'fidelity' THEN 'fidelity' WHEN mode LIKE 'bench-%' THEN 'bench' ELSE 'replay' END AS verb,
	coalesce((SELECT group_concat(key || '=' || iif(value GLOB '*[,=]*', quote(value), value), ',') FROM (
		SELECT key, value FROM run_setting
		WHERE run_id = run.id AND role = 'question' AND NOT usual ORDER BY key)), '') AS settings,
	v_standing.role, v_standing.may_compete, v_standing.out_for
FROM run
JOIN backend ON backend.id = run.backend_id
JOIN v_standing ON v_standing.run_id = run.id
LEFT JOIN trace ON trace.id = run.trace_id;

-- What each run asked: this is the one place that says what "the same question" and "latest" mean. latest:
-- the newest run that asked the same and finished; newest: the newest that ended, however it did.
-- How carefully it was asked and the seed make no other question; a benchmark's question is its point,
-- seed and all. Without a digest (a trace cut short) nothing says that two runs asked the same, so each
-- stands for itself.
DROP VIEW IF EXISTS v_question;
CREATE VIEW v_question AS
SELECT run_id, status, max(run_id) FILTER (WHERE status = 'done') OVER question AS latest,
	max(run_id) FILTER (WHERE status <> 'running') OVER question AS newest
FROM v_run
WINDOW question AS (
	PARTITION BY coalesce(trace_id, iif(verb = 'bench', point_id, -run_id)), backend_id, options, label,
		mode, threads, block_order, settings);

-- The latest finished run of each question.
DROP VIEW IF EXISTS v_latest;
CREATE VIEW v_latest AS
SELECT * FROM v_run WHERE run_id IN (SELECT run_id FROM v_question WHERE run_id = latest);

-- The newest run of each question that has not finished, crashed, hung and failed ones, where none has since.
-- latest: the finished one that it comes after, which v_latest has; NULL: there is none.
DROP VIEW IF EXISTS v_unfinished;
CREATE VIEW v_unfinished AS
SELECT v_run.*, latest
FROM v_run
JOIN v_question USING (run_id)
WHERE run_id = newest AND run_id IS NOT latest;

-- The newest finished run of each point under each label: what was run again under a label counts once.
DROP VIEW IF EXISTS v_point;
CREATE VIEW v_point AS
SELECT max(id) AS run_id, point_id, label, count(*) AS runs
FROM run
WHERE status = 'done'
GROUP BY point_id, label;

-- Everything that was chosen or found for a run, one row each, of failed runs and runs in progress too.
DROP VIEW IF EXISTS v_setting;
CREATE VIEW v_setting AS
SELECT v_run.run_id, trace, allocator, options, label, status, key, value, unit, run_setting.role, usual
FROM v_run
JOIN run_setting ON run_setting.run_id = v_run.run_id
ORDER BY v_run.run_id, key;

-- The kernel's numbers of migratetypes.
DROP VIEW IF EXISTS v_migratetype;
CREATE VIEW v_migratetype (number, name) AS
VALUES (0, 'Unmovable'), (1, 'Movable'), (2, 'Reclaimable'), (3, 'HighAtomic'), (4, 'CMA'), (5, 'Isolate');

-- Every final metric of every finished run, one row each. source: '' the engine's, else who brings it;
-- model: whose costs a modelled one was computed with.
DROP VIEW IF EXISTS v_metric;
CREATE VIEW v_metric AS
SELECT v_run.run_id, trace, mode, allocator, options, label, point_id, name, metric.value, unit, direction,
	kind, source, model, help, run_spread.value AS spread,
	iif(source = '' AND (name GLOB '*_ns_p*' OR name GLOB '*_ns_max') AND metric.value < 10 * step.step_ns,
		step.step_ns, NULL) AS error
FROM v_run
LEFT JOIN (SELECT run_id, value AS step_ns FROM metric JOIN metric_info ON id = metric_id
	WHERE source = '' AND name = 'clock_step_ns') AS step ON step.run_id = v_run.run_id
JOIN metric ON metric.run_id = v_run.run_id
JOIN metric_info ON metric_info.id = metric.metric_id
LEFT JOIN run_spread ON run_spread.run_id = v_run.run_id AND run_spread.metric_id = metric_info.id
WHERE status = 'done';

-- Every metric of every sample by name.
DROP VIEW IF EXISTS v_sample;
CREATE VIEW v_sample AS
SELECT run_id, sample, is_end, event, time_ns, name, value, unit, source, model
FROM sample
JOIN sample_metric USING (run_id, sample)
JOIN metric_info ON metric_info.id = sample_metric.metric_id;

-- The comparison: one row per latest replay, the main metrics as columns. The page that `quire report`
-- writes has the same rows.
DROP VIEW IF EXISTS v_comparison;
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
	max(value) FILTER (WHERE name = 'free_ns_p99')       AS free_ns_p99,
	prefill, settings, may_compete, out_for,
	max(value) FILTER (WHERE name = 'alloc_ns')          AS alloc_ns,
	max(value) FILTER (WHERE name = 'free_ns')           AS free_ns
FROM v_latest
LEFT JOIN metric ON metric.run_id = v_latest.run_id
LEFT JOIN metric_info ON metric_info.id = metric.metric_id AND source = ''
WHERE verb = 'replay'
GROUP BY v_latest.run_id
ORDER BY trace, allocator, options, label, settings;

-- How faithful each back end is to the kernel that recorded a trace: its latest fidelity run, the kernel
-- it was set to among its options. hindsight: it knew of its start what only later events tell. burn_in:
-- the recording tells what led to its start (NULL: not said). The ratios mean nothing where the kernel
-- counted little.
DROP VIEW IF EXISTS v_fidelity;
CREATE VIEW v_fidelity AS
SELECT v_latest.run_id, trace, allocator, options, label,
	EXISTS (SELECT 1 FROM run_setting AS s
		WHERE s.run_id = v_latest.run_id AND s.key = 'hindsight' AND s.value = 'true') AS hindsight,
	(SELECT s.value = 'true' FROM run_setting AS s
		WHERE s.run_id = v_latest.run_id AND s.key = 'burn_in') AS burn_in,
	max(value) FILTER (WHERE name = 'allocs')              AS allocs,
	max(value) FILTER (WHERE name = 'hit_accuracy_b')      AS hit_accuracy_b,
	max(value) FILTER (WHERE name = 'refill_accuracy_b')   AS refill_accuracy_b,
	max(value) FILTER (WHERE name = 'direct_accuracy_b')   AS direct_accuracy_b,
	max(value) FILTER (WHERE name = 'decision_accuracy_b') AS decision_accuracy_b,
	max(value) FILTER (WHERE name = 'hit_accuracy_a')      AS hit_accuracy_a,
	max(value) FILTER (WHERE name = 'refill_accuracy_a')   AS refill_accuracy_a,
	max(value) FILTER (WHERE name = 'direct_accuracy_a')   AS direct_accuracy_a,
	max(value) FILTER (WHERE name = 'decision_accuracy_a') AS decision_accuracy_a,
	max(value) FILTER (WHERE name = 'lifo_accuracy')       AS lifo_accuracy,
	max(value) FILTER (WHERE name = 'free_order_distance') AS free_order_distance,
	max(value) FILTER (WHERE name = 'pageblock_distance')  AS pageblock_distance,
	max(value) FILTER (WHERE name = 'refill_ratio')        AS refill_ratio,
	max(value) FILTER (WHERE name = 'drain_ratio')         AS drain_ratio,
	max(value) FILTER (WHERE name = 'extfrag_ratio')       AS extfrag_ratio,
	max(value) FILTER (WHERE name = 'recorded_refills')    AS recorded_refills,
	max(value) FILTER (WHERE name = 'recorded_drains')     AS recorded_drains,
	max(value) FILTER (WHERE name = 'recorded_fallbacks')  AS recorded_fallbacks,
	max(value) FILTER (WHERE name = 'forced_end_distance') AS forced_end_distance,
	settings
FROM v_latest
LEFT JOIN metric ON metric.run_id = v_latest.run_id
LEFT JOIN metric_info ON metric_info.id = metric.metric_id AND source = ''
WHERE verb = 'fidelity'
GROUP BY v_latest.run_id
ORDER BY trace, allocator, options, label, hindsight;

-- The same by order, migratetype and tenth of the trace.
DROP VIEW IF EXISTS v_accuracy;
CREATE VIEW v_accuracy AS
SELECT v_latest.run_id, trace, allocator, options, label, variant, class, dimension,
	CASE dimension
		WHEN 'total' THEN NULL
		WHEN 'migratetype' THEN coalesce((SELECT name FROM v_migratetype WHERE number = key), '?')
		ELSE key END AS key,
	choices, correct, 1.0 * correct / nullif(choices, 0) AS accuracy
FROM v_latest
JOIN accuracy ON accuracy.run_id = v_latest.run_id
WHERE dimension <> 'cause'
ORDER BY v_latest.run_id, variant, class, dimension, accuracy.key;

-- Why a back end did not choose as the kernel did, the most frequent cause of each group first; share is
-- of all choices of the group, right ones included.
DROP VIEW IF EXISTS v_mismatch;
CREATE VIEW v_mismatch AS
SELECT v_latest.run_id, trace, allocator, options, label, wrong.variant, wrong.class, wrong.cause,
	wrong.choices AS times, 1.0 * wrong.choices / nullif(total.choices, 0) AS share
FROM v_latest
JOIN accuracy AS wrong ON wrong.run_id = v_latest.run_id AND wrong.dimension = 'cause'
	AND wrong.variant <> 'lifo'
LEFT JOIN accuracy AS total ON total.run_id = wrong.run_id AND total.variant = wrong.variant
	AND total.class = wrong.class AND total.dimension = 'total'
ORDER BY v_latest.run_id, wrong.variant, wrong.class, wrong.choices DESC, wrong.key;

-- The latest run of every benchmark asked for. cas_ns is the unit of the columns that end in _cas.
DROP VIEW IF EXISTS v_bench;
CREATE VIEW v_bench AS
SELECT v_latest.run_id, substr(mode, 7) AS bench, allocator, options, label,
	managed_frames, cpus, threads, block_order, fill, rounds, seed, repetitions,
	max(value) FILTER (WHERE name = 'alloc_ns')          AS alloc_ns,
	max(value) FILTER (WHERE name = 'free_ns')           AS free_ns,
	max(value) FILTER (WHERE name = 'pair_ns')           AS pair_ns,
	max(value) FILTER (WHERE name = 'cas_ns')            AS cas_ns,
	max(value) FILTER (WHERE name = 'alloc_cas')         AS alloc_cas,
	max(value) FILTER (WHERE name = 'free_cas')          AS free_cas,
	max(value) FILTER (WHERE name = 'pair_cas')          AS pair_cas,
	max(value) FILTER (WHERE name = 'pair_ns_spread')    AS pair_ns_spread,
	max(value) FILTER (WHERE name = 'moves_to_compact')  AS moves_to_compact,
	max(value) FILTER (WHERE name = 'free_huge')         AS free_huge,
	max(value) FILTER (WHERE name = 'alloc_failures')    AS alloc_failures,
	max(value) FILTER (WHERE name = 'oracle_violations') AS oracle_violations,
	settings, may_compete,
	max(value) FILTER (WHERE name = 'free_share_2m')     AS free_share_2m,
	max(value) FILTER (WHERE name = 'free_share_16m')    AS free_share_16m,
	max(value) FILTER (WHERE name = 'free_share_128m')   AS free_share_128m,
	max(value) FILTER (WHERE name = 'free_share_1g')     AS free_share_1g,
	out_for,
	backing,
	max(value) FILTER (WHERE name = 'touch_ns')          AS touch_ns,
	max(value) FILTER (WHERE name = 'touched_frames')    AS touched_frames,
	max(value) FILTER (WHERE name = 'alloc_ns_spread')   AS alloc_ns_spread,
	max(value) FILTER (WHERE name = 'free_ns_spread')    AS free_ns_spread
FROM v_latest
LEFT JOIN metric ON metric.run_id = v_latest.run_id
LEFT JOIN metric_info ON metric_info.id = metric.metric_id AND source = ''
WHERE verb = 'bench'
GROUP BY v_latest.run_id
ORDER BY mode, managed_frames, fill, block_order, threads, allocator, options, label;

-- Latencies of the latest runs by operation, order class and the way the allocation went, all cpus.
-- count, mean and max are exact; the percentiles are the worst cpu's (merge the histograms for those of
-- all cpus).
DROP VIEW IF EXISTS v_latency;
CREATE VIEW v_latency AS
SELECT v_latest.run_id, trace, allocator, options, label, op, order_class,
	count(*) AS cpus, sum(latency.count) AS count,
	sum(latency.count * mean_ns) / sum(latency.count) AS mean_ns,
	max(p50_ns) AS worst_p50_ns, max(p99_ns) AS worst_p99_ns, max(max_ns) AS max_ns, path
FROM v_latest
JOIN latency ON latency.run_id = v_latest.run_id
WHERE latency.count > 0
GROUP BY v_latest.run_id, op, order_class, path
ORDER BY trace, allocator, options, label, op, order_class, path;

-- The same whichever way it went; the percentiles are those of the worst cpu and way.
DROP VIEW IF EXISTS v_latency_all_paths;
CREATE VIEW v_latency_all_paths AS
SELECT v_latest.run_id, trace, allocator, options, label, op, order_class,
	count(DISTINCT cpu) AS cpus, sum(latency.count) AS count,
	sum(latency.count * mean_ns) / sum(latency.count) AS mean_ns,
	max(p50_ns) AS worst_p50_ns, max(p99_ns) AS worst_p99_ns, max(max_ns) AS max_ns
FROM v_latest
JOIN latency ON latency.run_id = v_latest.run_id
WHERE latency.count > 0
GROUP BY v_latest.run_id, op, order_class
ORDER BY trace, allocator, options, label, op, order_class;

-- The slowest operations of every finished run that kept them, slowest first; `quire trace cat TRACE --from
-- EVENT` shows what the trace has there.
DROP VIEW IF EXISTS v_outlier;
CREATE VIEW v_outlier AS
SELECT v_run.run_id, trace, allocator, options, label, rank, ns, op, event, time_ns,
	outlier.block_order, cpu, coalesce(v_migratetype.name, '?') AS migratetype, path, pfn
FROM v_run
JOIN outlier ON outlier.run_id = v_run.run_id
LEFT JOIN v_migratetype ON v_migratetype.number = migratetype
WHERE status = 'done'
ORDER BY v_run.run_id, rank;

-- What back ends counted until the end, of every finished run.
DROP VIEW IF EXISTS v_counter;
CREATE VIEW v_counter AS
SELECT v_run.run_id, trace, mode, allocator, options, label, source, name, value, unit, help
FROM v_run
JOIN run_counter ON run_counter.run_id = v_run.run_id
JOIN metric_info ON metric_info.id = run_counter.metric_id
WHERE status = 'done'
ORDER BY v_run.run_id, source, position;

-- What they had counted by each sample.
DROP VIEW IF EXISTS v_counter_over_time;
CREATE VIEW v_counter_over_time AS
SELECT run_id, sample, is_end, event, time_ns, source, name, value
FROM sample
JOIN sample_counter USING (run_id, sample)
JOIN metric_info ON metric_info.id = sample_counter.metric_id
ORDER BY run_id, source, position, sample;

-- What back ends said of their allocations' ways, of every finished run; share is of those asked for.
DROP VIEW IF EXISTS v_flag;
CREATE VIEW v_flag AS
SELECT v_run.run_id, trace, mode, allocator, options, label, flag, allocs,
	allocs / (SELECT nullif(value, 0) FROM metric
		JOIN metric_info ON metric_info.id = metric.metric_id
		WHERE metric.run_id = v_run.run_id AND source = '' AND name = 'allocs') AS share
FROM v_run
JOIN run_flag ON run_flag.run_id = v_run.run_id
WHERE status = 'done'
ORDER BY v_run.run_id, flag;

-- Who holds the frames of each 2 MiB block, most first, of every finished run. age_seconds: of the oldest.
DROP VIEW IF EXISTS v_holder;
CREATE VIEW v_holder AS
SELECT v_run.run_id, trace, allocator, options, label, sample, is_end, block, rank, class,
	holder.block_order, coalesce(v_migratetype.name, '?') AS migratetype, gfp, context, frames,
	(time_ns - since_ns) / 1e9 AS age_seconds
FROM v_run
JOIN holder ON holder.run_id = v_run.run_id
JOIN sample USING (run_id, sample)
LEFT JOIN v_migratetype ON v_migratetype.number = migratetype
WHERE status = 'done'
ORDER BY v_run.run_id, sample, block, rank;

-- How many 2 MiB blocks each kind of holder keeps from being free in the last sample that has any; first: in
-- how many of them it holds most.
DROP VIEW IF EXISTS v_pinned;
CREATE VIEW v_pinned AS
SELECT v_holder.run_id, trace, allocator, options, label, class, migratetype,
	count(DISTINCT block) AS blocks, count(*) FILTER (WHERE rank = 0) AS first,
	sum(frames) AS frames, max(age_seconds) AS age_seconds
FROM v_holder
WHERE sample = (SELECT max(sample) FROM holder WHERE holder.run_id = v_holder.run_id)
GROUP BY v_holder.run_id, class, migratetype
ORDER BY v_holder.run_id, blocks DESC;

-- How memory fragmented while a trace ran, one row per sample of its latest runs.
DROP VIEW IF EXISTS v_free_huge_over_time;
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
WHERE verb <> 'bench'
ORDER BY v_latest.run_id, sample.sample;

-- Free blocks by order at the end of the latest runs of traces: the engine's cut of its free map, the same less
-- every frame that the kernel's snapshot does not have in its free lists, what that snapshot said, and by how
-- much these two differ; and the back end's own lists.
DROP VIEW IF EXISTS v_free_blocks;
CREATE VIEW v_free_blocks AS
SELECT v_latest.run_id, trace, allocator, options, label, freelist.block_order,
	max(blocks) FILTER (WHERE source = 'engine')    AS engine,
	max(blocks) FILTER (WHERE source = 'backend')   AS backend,
	max(blocks) FILTER (WHERE source = 'kernel')    AS kernel,
	max(blocks) FILTER (WHERE source = 'explained') AS explained,
	max(blocks) FILTER (WHERE source = 'explained') - max(blocks) FILTER (WHERE source = 'kernel') AS difference
FROM v_latest
JOIN sample ON sample.run_id = v_latest.run_id AND is_end
JOIN freelist ON freelist.run_id = sample.run_id AND freelist.sample = sample.sample
WHERE verb <> 'bench'
GROUP BY v_latest.run_id, freelist.block_order
ORDER BY v_latest.run_id, freelist.block_order;

-- What the runs complained about, failed ones included.
DROP VIEW IF EXISTS v_warning;
CREATE VIEW v_warning AS
SELECT v_run.run_id, trace, allocator, options, label, status, line, text
FROM v_run
JOIN warning ON warning.run_id = v_run.run_id
ORDER BY v_run.run_id, line;
