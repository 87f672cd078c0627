-- SPDX-License-Identifier: MIT
-- From version 4 of the results database to version 5, second half: what stood against a run could be read
-- off its metrics and its warnings; now each is a row.
INSERT INTO doubt (run_id, name, count, failed)
SELECT run_id, name, CAST(value AS INTEGER), name = 'oracle_violations'
FROM metric
JOIN metric_info ON metric_info.id = metric.metric_id
WHERE source = '' AND value >= 1 AND name IN ('alloc_failures', 'prefill_failures', 'hotplug_refusals',
	'oracle_violations')
UNION ALL
SELECT refused.run_id, 'refuses_most', CAST(refused.value AS INTEGER), 1
FROM metric AS refused
JOIN metric_info AS refused_info ON refused_info.id = refused.metric_id
	AND refused_info.source = '' AND refused_info.name = 'alloc_failures'
JOIN metric AS asked ON asked.run_id = refused.run_id
JOIN metric_info AS asked_info ON asked_info.id = asked.metric_id
	AND asked_info.source = '' AND asked_info.name = 'allocs'
WHERE 2 * refused.value > asked.value
UNION ALL
SELECT DISTINCT run_id, 'check_failures', 1, 1 FROM warning WHERE text LIKE 'the back end''s own check failed:%';
