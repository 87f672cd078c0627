/* SPDX-License-Identifier: MIT */
#include "base/progress.h"

#include <inttypes.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/format.h"
#include "base/monotonic.h"

#define REDRAW_NS     UINT64_C(100000000)
#define SECOND_NS     UINT64_C(1000000000)
#define ERASE	      "\r\033[K"
#define COLUMNS_GUESS 80

void progress_begin(struct progress *p, FILE *out, const char *what, uint64_t total)
{
	memset(p, 0, sizeof(*p));
	p->out = out;
	p->total = total;
	p->live = out && isatty(fileno(out)) == 1;
	p->started_ns = monotonic_ns();
	p->drawn_ns = p->started_ns;
	snprintf(p->what, sizeof(p->what), "%s", what);
}

/* A line as wide as the terminal would wrap, and then not be erased. */
static int columns(FILE *out)
{
	struct winsize size;

	if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
		return size.ws_col - 1;
	return COLUMNS_GUESS - 1;
}

int progress_line(char *line, size_t size, const struct progress *p, uint64_t done,
		  uint64_t elapsed_ns)
{
	double seconds = (double)elapsed_ns / (double)SECOND_NS;
	double rate = seconds > 0 ? (double)done / seconds : 0;
	char rate_text[FORMAT_MAX], count[FORMAT_MAX], left[FORMAT_MAX];

	format_rate(rate_text, rate);
	if (p->total == 0)
		return snprintf(line, size, "%s: %s, %s/s", p->what,
				format_grouped_unsigned(count, done), rate_text);
	if (done > p->total)
		done = p->total;
	if (rate > 0)
		format_duration(left, (uint64_t)((double)(p->total - done) / rate + 0.5));
	else
		snprintf(left, sizeof(left), "?");
	return snprintf(line, size, "%s: %3.0f %%, %s/s, %s left", p->what,
			100.0 * (double)done / (double)p->total, rate_text, left);
}

void progress_update(struct progress *p, uint64_t done)
{
	char line[256];
	uint64_t now;

	if (!p->live)
		return;
	now = monotonic_ns();
	if (now - p->drawn_ns < REDRAW_NS)
		return;
	p->drawn_ns = now;
	progress_line(line, sizeof(line), p, done, now - p->started_ns);
	fprintf(p->out, ERASE "%.*s", columns(p->out), line);
	fflush(p->out);
}

void progress_end(struct progress *p)
{
	if (!p->live)
		return;
	if (p->drawn_ns != p->started_ns) {
		fputs(ERASE, p->out);
		fflush(p->out);
	}
	p->live = false;
}
