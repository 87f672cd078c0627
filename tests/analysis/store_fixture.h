/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the store share: a directory for each test, a synthetic run, and questions to a
 * finished database.
 */
#ifndef TESTS_ANALYSIS_STORE_FIXTURE_H
#define TESTS_ANALYSIS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "analysis/store.h"

struct fixture {
	char directory[64], path[96];
};

int setup(void **state);
int teardown(void **state);
bool exists(const struct fixture *f, const char *suffix);
/* The single value of @sql as text ("" for NULL), in a buffer that the next call reuses. */
const char *ask(const struct fixture *f, const char *sql);
void tell(const struct fixture *f, const char *sql);
struct result_record run_record(const char *allocator);
int take(struct store *store, const struct result_record *record, struct error *err);
void must_take(struct store *store, const struct result_record *record);
void send_setting(struct store *store, enum setting_role role, const char *key, const char *value,
		  const char *unit, bool usual);
/* What a replay of the usual kind says of itself. */
void send_settings(struct store *store);
void send_metric(struct store *store, uint32_t metric, double value);
void send_sample(struct store *store, uint32_t index, bool end, double free_huge);
void send_latency(struct store *store, uint32_t cpu, enum latency_path path,
		  const struct histogram *h);
void send_warning(struct store *store, const char *text);
void send_done(struct store *store, enum run_status status, const char *text);
void send_results(struct store *store);
struct store *must_open(const struct fixture *f);
void must_close(struct store *store);
void write_run(const struct fixture *f, const char *allocator);
void assert_no_results(const struct fixture *f);
/* Run @body in a child; its exit code is the verdict, 77 skips. */
void in_child(const struct fixture *f, int (*body)(const struct fixture *f));
/* A child's complaint, for who looks into a failure. */
int complain(int code, const struct error *err);

#define assert_answer(f, sql, expected) assert_string_equal(ask(f, sql), expected)

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
