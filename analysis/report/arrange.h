/* SPDX-License-Identifier: MIT */
/*
 * Names, colours and order of the rows that were read. Private to analysis/report/.
 */
#ifndef ANALYSIS_REPORT_ARRANGE_H
#define ANALYSIS_REPORT_ARRANGE_H

#include "analysis/report/data.h"

/**
 * report_arrange - give runs their names and colours, and put them in order
 * Return: 0 or -ENOMEM.
 */
int report_arrange(struct report_data *data);

#endif
