-- SPDX-License-Identifier: MIT
-- From version 3 of the results database on, second half: schema.sql has made the new tables beside the old
-- ones, which schema.c renamed to old_NAME; here their rows are copied, and what were columns of a run
-- become settings. migrate_doubts.sql follows.

INSERT INTO run (id, status, status_text, host_id, trace_id, backend_id, spec, options, mode, seed, threads,
	block_order, label, point_id, build_id, start_ns, boot_id, pid, process_start)
SELECT id, status, status_text, host_id, trace_id, backend_id, spec, options, mode, seed, threads,
	block_order, label, point_id, build_id, start_ns, boot_id, pid, process_start
FROM old_run;
-- Ids are never reused, also that of a last run that was deleted.
DELETE FROM sqlite_sequence WHERE name = 'run';
INSERT INTO sqlite_sequence (name, seq) SELECT 'run', seq FROM sqlite_sequence WHERE name = 'old_run';

-- A column said something of every run, also where it was not asked: there it is a fact, which tells no
-- two questions apart. Of a benchmark, memory and fill were part of its point.
INSERT INTO run_setting (run_id, key, value, unit, role, usual)
SELECT id, 'backing', memory, '', iif(mode = 'fidelity', 'fact', 'question'), memory = 'none' FROM old_run
UNION ALL
SELECT id, 'prefill', prefill, '', iif(mode = 'sequential', 'question', 'fact'), prefill = 'recorded' FROM old_run
UNION ALL
SELECT id, 'oracle', iif(oracle, 'true', 'false'), '', iif(mode = 'fidelity', 'fact', 'care'), oracle FROM old_run
UNION ALL
SELECT id, 'cpus', cpus, '', 'fact', 0 FROM old_run
UNION ALL
SELECT id, 'events', events, '', 'fact', 0 FROM old_run
UNION ALL
SELECT id, 'ops', ops, '', 'fact', 0 FROM old_run
UNION ALL
SELECT id, 'managed_frames', managed_frames, 'frames', 'fact', 0 FROM old_run
UNION ALL
SELECT id, 'memory', 4096 * managed_frames, 'bytes', 'question', 0 FROM old_run WHERE repetitions NOT NULL
UNION ALL
SELECT id, 'repetitions', repetitions, '', 'care', 0 FROM old_run WHERE repetitions NOT NULL
UNION ALL
SELECT id, 'rounds', rounds, '', 'question', 0 FROM old_run WHERE rounds NOT NULL
UNION ALL
SELECT id, 'fill', fill, '%', 'question', 0 FROM old_run WHERE fill NOT NULL;

-- What a fidelity run knew of its start was told in words alone.
INSERT INTO run_setting (run_id, key, value, unit, role, usual)
SELECT id, 'hindsight', iif(told, 'true', 'false'), '', 'question', NOT told
FROM (SELECT id, EXISTS (SELECT 1 FROM warning
		WHERE run_id = old_run.id AND text LIKE 'hindsight:%') AS told
	FROM old_run WHERE mode = 'fidelity' AND status = 'done')
UNION ALL
SELECT id, 'burn_in', iif(told, 'false', 'true'), '', 'fact', 0
FROM (SELECT id, EXISTS (SELECT 1 FROM warning
		WHERE run_id = old_run.id AND text LIKE 'recorded without --burn-in%') AS told
	FROM old_run WHERE mode = 'fidelity' AND status = 'done');

INSERT INTO metric_info (id, source, name, position, unit, direction, kind, model, help)
SELECT id, '', name, position, unit, direction, kind, NULL, help FROM old_metric_info;

INSERT INTO latency (run_id, op, order_class, path, cpu, count, mean_ns, p50_ns, p99_ns, max_ns, histogram)
SELECT run_id, op, order_class, 'plain', cpu, count, mean_ns, p50_ns, p99_ns, max_ns, histogram FROM old_latency;

INSERT INTO blockmap (run_id, sample, layer, first_block, blocks, base, difference)
SELECT run_id, sample, 'held', first_block, blocks, base, difference FROM old_blockmap;

-- Nothing ever filled it.
DROP TABLE old_holder;
DROP TABLE old_blockmap;
DROP TABLE old_latency;
DROP TABLE old_metric_info;
DROP TABLE old_run;
