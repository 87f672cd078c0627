-- SPDX-License-Identifier: MIT
-- What version 3 of the results database added, for new files as for older ones.

-- How often a back end chose as the kernel did that recorded the trace, for one group of choices; of
-- fidelity runs only. docs/results.md explains the words.
CREATE TABLE accuracy (
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
