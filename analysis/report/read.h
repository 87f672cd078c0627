/* SPDX-License-Identifier: MIT */
/*
 * What a report shows, read from the database once. Private to analysis/report/.
 */
#ifndef ANALYSIS_REPORT_READ_H
#define ANALYSIS_REPORT_READ_H

#include "analysis/report/data.h"
#include "base/error.h"

/**
 * report_data_read - the rows of v_latest, replays by trace and fidelity runs
 * @label: only runs so labelled; NULL: all
 * Return: 0; -ENOENT no database, or no finished replay in it; -EBADMSG; -EPROTONOSUPPORT;
 * -EBUSY; -ENOMEM; or another I/O errno.
 */
int report_data_read(const char *database, const char *label, struct report_data *data,
		     struct error *err);

#endif
