/* SPDX-License-Identifier: MIT */
#include "analysis/report/plot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "analysis/text.h"
#include "base/bits.h"
#include "base/outfile.h"
#include "base/text_stream.h"

/* How late timed replay was says nothing of a back end's own time; tables tell it. */
#define DRAWN_OPS LATENCY_LATE

extern char **environ;

/*
 * Okabe and Ito's palette for all kinds of colour vision, its yellow darkened to be seen on white;
 * black is kept for the reference. After seven names the colours repeat with another dash.
 */
static const char *const palette[] = {
	"#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B5A000",
};

#define HARNESS_COLOUR "#8A8A8A"

/* Points of a latency curve: enough for the eye at any size on a page. */
#define CURVE_STEPS 400

static const char *const extensions[] = {".gp", ".dat", ".svg"};

const char *plot_kind_name(enum plot_kind kind)
{
	static const char *const names[] = {
		[PLOT_FREE_HUGE] = "free-huge",
		[PLOT_SHARES] = "shares",
		[PLOT_LATENCY] = "latency",
	};

	return names[kind];
}

const char *plot_colour(const struct report_run *run)
{
	if (run->role == ROLE_REFERENCE)
		return "currentColor";
	if (run->role == ROLE_HARNESS)
		return HARNESS_COLOUR;
	return palette[run->colour % ARRAY_SIZE(palette)];
}

/* gnuplot's 'black' becomes the colour of the reader's text, see finish_svg(). */
static const char *gnuplot_colour(const struct report_run *run)
{
	return run->role == ROLE_REFERENCE ? "black" : plot_colour(run);
}

static int dash_type(const struct report_run *run)
{
	if (run->role == ROLE_REFERENCE)
		return 2;
	if (run->role == ROLE_HARNESS)
		return 3;
	return run->colour < ARRAY_SIZE(palette) ? 1 : 4;
}

/* ---- what is drawn: scripts and data ------------------------------------------------------- */

struct drawing {
	enum plot_kind kind;
	const struct report_trace *trace;
	const char *name;
	FILE *gp, *dat;
};

static const enum metric share_metrics[] = {
	METRIC_free_share_2m,
	METRIC_free_share_16m,
	METRIC_free_share_128m,
	METRIC_free_share_1g,
};

static bool run_has_data(const struct report_run *run, enum plot_kind kind)
{
	switch (kind) {
	case PLOT_FREE_HUGE:
		for (size_t i = 0; i < run->n_samples; i++) {
			if (isfinite(run->samples[i].free_huge))
				return true;
		}
		return false;
	case PLOT_SHARES:
		for (size_t i = 0; i < ARRAY_SIZE(share_metrics); i++) {
			if (isfinite(run->value[share_metrics[i]]))
				return true;
		}
		return false;
	default:
		for (unsigned int op = 0; op < DRAWN_OPS; op++) {
			if (run->latency[op] && run->latency[op]->count)
				return true;
		}
		return false;
	}
}

static bool has_data(const struct report_trace *trace, enum plot_kind kind)
{
	for (size_t i = 0; i < trace->n_runs; i++) {
		if (run_has_data(&trace->runs[i], kind))
			return true;
	}
	return false;
}

static void put_preamble(const struct drawing *d, unsigned int width, unsigned int height)
{
	fprintf(d->gp,
		"# Redraw with: gnuplot %s.gp\n"
		"set encoding utf8\n"
		"set terminal svg size %u,%u dynamic noenhanced font 'sans-serif,15'\n"
		"set output '%s.svg'\n"
		"set border 3\n"
		"set tics nomirror out\n"
		"set grid ytics lc rgb '#909090' lw 0.5 dt 1\n"
		"set key outside right top Left reverse noautotitle samplen 2 spacing 1.2\n",
		d->name, width, height, d->name);
}

static void put_number(FILE *out, double v)
{
	if (isfinite(v))
		fprintf(out, " %.9g", v);
	else
		fputs(" NaN", out);
}

/* One curve, from the data file's block @index. */
static void put_curve(const struct drawing *d, const struct report_run *run, size_t index,
		      bool first, const char *with)
{
	fprintf(d->gp, "%s'%s.dat' index %zu using 1:2 with %s lw 2 dt %d lc rgb '%s' title ",
		first ? "plot " : ", \\\n     ", d->name, index, with, dash_type(run),
		gnuplot_colour(run));
	text_gnuplot(d->gp, run->name);
}

static void put_block_title(const struct drawing *d, size_t index, const char *what,
			    const struct report_run *run)
{
	fprintf(d->dat, "%s# %s: ", index ? "\n\n" : "", what);
	text_gnuplot(d->dat, run->name);
	fputc('\n', d->dat);
}

/*
 * A difference of a few huge frames must be visible where all have thousands: the axis starts at
 * zero only if that costs at most half of the height.
 */
static void put_huge_range(const struct drawing *d)
{
	double low = INFINITY, high = 0;

	for (size_t i = 0; i < d->trace->n_runs; i++) {
		const struct report_run *run = &d->trace->runs[i];

		for (size_t s = 0; s < run->n_samples; s++) {
			const double v = run->samples[s].free_huge;

			if (isfinite(v)) {
				low = fmin(low, v);
				high = fmax(high, v);
			}
		}
	}
	if (low < high / 2 || high <= 0)
		fputs("set yrange [0:*]\n", d->gp);
	else
		fputs("set offsets 0, 0, graph 0.05, graph 0.05\n", d->gp);
}

static void draw_free_huge(const struct drawing *d)
{
	size_t index = 0;

	put_preamble(d, 960, 400);
	fputs("set xlabel 'trace time (s)'\n"
	      "set ylabel 'free huge frames (2 MiB)'\n"
	      "set format y '%.0f'\n",
	      d->gp);
	put_huge_range(d);
	for (size_t i = 0; i < d->trace->n_runs; i++) {
		const struct report_run *run = &d->trace->runs[i];

		if (!run_has_data(run, d->kind))
			continue;
		put_curve(d, run, index, index == 0, "lines");
		put_block_title(d, index++, "seconds, free huge frames", run);
		for (size_t s = 0; s < run->n_samples; s++) {
			put_number(d->dat, run->samples[s].seconds);
			put_number(d->dat, run->samples[s].free_huge);
			fputc('\n', d->dat);
		}
	}
	fputc('\n', d->gp);
}

static void draw_shares(const struct drawing *d)
{
	static const char *const sizes[] = {"2 MiB", "16 MiB", "128 MiB", "1 GiB"};
	unsigned int column = 2;

	put_preamble(d, 960, 400);
	fputs("set ylabel 'share of free memory (%)'\n"
	      "set xlabel 'lying in wholly free aligned blocks of'\n"
	      "set yrange [0:100]\n"
	      "set xrange [-0.6:3.6]\n"
	      "set xtics scale 0\n"
	      "set style data histograms\n"
	      "set style histogram clustered gap 1.5\n"
	      "set style fill solid 0.9 noborder\n"
	      "set datafile missing 'NaN'\n",
	      d->gp);
	fputs("# block size", d->dat);
	for (size_t i = 0; i < d->trace->n_runs; i++) {
		const struct report_run *run = &d->trace->runs[i];

		if (!run_has_data(run, d->kind))
			continue;
		fprintf(d->gp, "%s'%s.dat' using %u:xtic(1) lc rgb '%s' title ",
			column > 2 ? ", \\\n     " : "plot ", d->name, column, gnuplot_colour(run));
		text_gnuplot(d->gp, run->name);
		fputs(", ", d->dat);
		text_gnuplot(d->dat, run->name);
		column++;
	}
	fputc('\n', d->gp);
	for (size_t m = 0; m < ARRAY_SIZE(share_metrics); m++) {
		fprintf(d->dat, "\n\"%s\"", sizes[m]);
		for (size_t i = 0; i < d->trace->n_runs; i++) {
			const struct report_run *run = &d->trace->runs[i];

			if (run_has_data(run, d->kind))
				put_number(d->dat, 100 * run->value[share_metrics[m]]);
		}
	}
	fputc('\n', d->dat);
}

/* The distribution as steps, thinned to about CURVE_STEPS where many buckets hold little each. */
static void put_distribution(FILE *dat, const struct histogram *h)
{
	uint64_t below = 0, written = 0;

	for (unsigned int i = 0; h && h->count && i < HISTOGRAM_BUCKETS; i++) {
		if (!h->bucket[i])
			continue;
		if (below == 0)
			fprintf(dat, "%" PRIu64 " 0\n", max_u64(histogram_bucket_low(i), 1));
		below += h->bucket[i];
		if (below - written < h->count / CURVE_STEPS && below < h->count)
			continue;
		written = below;
		fprintf(dat, "%" PRIu64 " %.6g\n",
			max_u64(min_u64(histogram_bucket_end(i) - 1, h->max), 1),
			100 * (double)below / (double)h->count);
	}
}

/* Where the axes end: nearly everything, not the one outlier that would squeeze the rest. */
static void put_latency_range(const struct drawing *d)
{
	double low = INFINITY, high = 0;

	for (size_t i = 0; i < d->trace->n_runs; i++) {
		for (unsigned int op = 0; op < DRAWN_OPS; op++) {
			const struct histogram *h = d->trace->runs[i].latency[op];

			if (h && h->count) {
				low = fmin(low, histogram_quantile(h, 0.0001));
				high = fmax(high, histogram_quantile(h, 0.9995));
			}
		}
	}
	low = fmax(1, floor(low * 0.8));
	fprintf(d->gp, "set xrange [%.0f:%.0f]\n", low, fmax(ceil(high * 1.2), 10 * low));
}

/* Whether some run timed it: memory, for one, is not always there to be touched. */
static bool was_timed(const struct report_trace *trace, unsigned int op)
{
	for (size_t i = 0; i < trace->n_runs; i++) {
		const struct histogram *h = trace->runs[i].latency[op];

		if (h && h->count)
			return true;
	}
	return false;
}

static void draw_latency(const struct drawing *d)
{
	unsigned int panels = 0, done = 0;
	size_t index = 0;

	for (unsigned int op = 0; op < DRAWN_OPS; op++)
		panels += was_timed(d->trace, op);
	put_preamble(d, 960, 400);
	fprintf(d->gp,
		"set multiplot layout 1,%u margins 0.09,0.79,0.2,0.95 spacing 0.04\n"
		"set logscale x\n"
		"set grid xtics\n"
		"set format x '%%.0f'\n"
		"set yrange [0:100]\n"
		"set key at screen 0.81,0.95 left top\n"
		"set ylabel 'share of operations (%%)'\n",
		panels);
	put_latency_range(d);
	for (unsigned int op = 0; op < DRAWN_OPS; op++) {
		const char *name = latency_op_name((enum latency_op)op);
		bool first = true;

		if (!was_timed(d->trace, op))
			continue;
		if (done++ > 0)
			fputs("unset ylabel\nset format y ''\n", d->gp);
		fprintf(d->gp, "set xlabel 'time of one %s (ns)'\n%sset key\n", name,
			done < panels ? "un" : "");
		for (size_t i = 0; i < d->trace->n_runs; i++) {
			const struct report_run *run = &d->trace->runs[i];

			if (!run_has_data(run, d->kind))
				continue;
			/* An empty block would end the plot: one undefined point stands for it. */
			put_block_title(d, index, name, run);
			if (run->latency[op] && run->latency[op]->count)
				put_distribution(d->dat, run->latency[op]);
			else
				fputs("1 NaN\n", d->dat);
			put_curve(d, run, index++, first, "steps");
			first = false;
		}
		fputc('\n', d->gp);
	}
	fputs("unset multiplot\n", d->gp);
}

/* ---- files and the program ----------------------------------------------------------------- */

static int file_path(char path[PATH_MAX], const char *directory, const char *name,
		     const char *extension, struct error *err)
{
	if (snprintf(path, PATH_MAX, "%s/%s%s", directory, name, extension) >= PATH_MAX)
		return error_set(err, ENAMETOOLONG, "%s: name too long", directory);
	return 0;
}

void plot_remove(const char *directory, const char *name)
{
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
		if (file_path(path, directory, name, extensions[i], NULL) == 0)
			unlink(path);
	}
}

static int write_file(const char *directory, const char *name, const char *extension,
		      const char *text, size_t size, struct error *err)
{
	char path[PATH_MAX];
	struct outfile *file;
	int rc;

	rc = file_path(path, directory, name, extension, err);
	if (rc)
		return rc;
	rc = outfile_create(path, true, &file, err);
	if (rc)
		return rc;
	rc = outfile_write(file, text, size, err);
	if (rc) {
		outfile_abort(file);
		return rc;
	}
	return outfile_commit(file, err);
}

/* Script and data of the figure, into memory first so that a full disk shows in one place. */
static int write_sources(enum plot_kind kind, const struct report_trace *trace,
			 const char *directory, const char *name, struct error *err)
{
	static void (*const draw[PLOT_KINDS])(const struct drawing *) = {
		[PLOT_FREE_HUGE] = draw_free_huge,
		[PLOT_SHARES] = draw_shares,
		[PLOT_LATENCY] = draw_latency,
	};
	struct drawing d = {.kind = kind, .trace = trace, .name = name};
	struct text_stream gp_stream, dat_stream;
	size_t gp_size, dat_size;
	char *gp, *dat;
	int rc;

	d.gp = text_stream_begin(&gp_stream);
	d.dat = text_stream_begin(&dat_stream);
	if (d.gp && d.dat)
		draw[kind](&d);
	gp = text_stream_end(&gp_stream, &gp_size);
	dat = text_stream_end(&dat_stream, &dat_size);
	rc = gp && dat ? write_file(directory, name, ".dat", dat, dat_size, err)
		       : error_set(err, ENOMEM, "%s: out of memory", name);
	if (!rc)
		rc = write_file(directory, name, ".gp", gp, gp_size, err);
	free(gp);
	free(dat);
	return rc;
}

/* Read @fd to its end; what fits is kept as text. */
static void drain(int fd, char *text, size_t size)
{
	char waste[512];
	size_t used = 0;
	ssize_t n;

	do {
		const bool room = used + 1 < size;

		n = read(fd, room ? text + used : waste, room ? size - 1 - used : sizeof(waste));
		if (n > 0 && room)
			used += (size_t)n;
	} while (n > 0 || (n < 0 && errno == EINTR));
	text[used] = '\0';
}

/* gnuplot prints the script's line, a caret, and then what is wrong: the last line says it. */
static const char *last_line(char *text)
{
	size_t end = strlen(text);
	char *line;

	while (end && strchr("\n\r \t", text[end - 1]))
		end--;
	text[end] = '\0';
	line = strrchr(text, '\n');
	return line ? line + 1 : text;
}

static int spawn_gnuplot(const char *directory, const char *script, int err_fd, pid_t *pid)
{
	char *const argv[] = {(char[]){"gnuplot"}, (char[]){"-d"}, (char *)script, NULL};
	posix_spawn_file_actions_t actions;
	int rc;

	rc = posix_spawn_file_actions_init(&actions);
	if (rc)
		return rc;
	rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	rc = rc ? rc
		: posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY,
						   0);
	rc = rc ? rc : posix_spawn_file_actions_adddup2(&actions, err_fd, STDERR_FILENO);
	rc = rc ? rc : posix_spawn_file_actions_addchdir_np(&actions, directory);
	rc = rc ? rc : posix_spawnp(pid, argv[0], &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return rc;
}

static int not_found(struct error *err)
{
	return error_set(err, ENOEXEC,
			 "gnuplot: not found; install it ('apt-get install gnuplot-nox')");
}

int plot_check(struct error *err)
{
	const char *path = getenv("PATH");

	/* As posix_spawnp() searches. */
	for (path = path ? path : "/bin:/usr/bin"; path; path = strchr(path, ':')) {
		char program[PATH_MAX];
		size_t length;

		path += *path == ':';
		length = strcspn(path, ":");
		if (snprintf(program, sizeof(program), "%.*s/gnuplot", length ? (int)length : 1,
			     length ? path : ".") < (int)sizeof(program) &&
		    access(program, X_OK) == 0)
			return 0;
	}
	return not_found(err);
}

/* No shell: the script's name is an argument, the directory the working directory. */
static int run_gnuplot(const char *directory, const char *name, struct error *err)
{
	char script[NAME_MAX + 1], text[2048];
	int fds[2], status, rc;
	pid_t pid;

	if (snprintf(script, sizeof(script), "%s.gp", name) >= (int)sizeof(script))
		return error_set(err, ENAMETOOLONG, "%s: name too long", name);
	if (pipe2(fds, O_CLOEXEC) != 0)
		return error_set(err, errno, "gnuplot: pipe: %s", strerror(errno));
	rc = spawn_gnuplot(directory, script, fds[1], &pid);
	close(fds[1]);
	if (rc) {
		close(fds[0]);
		if (rc == ENOENT)
			return not_found(err);
		return error_set(err, rc, "gnuplot: cannot be run: %s", strerror(rc));
	}
	drain(fds[0], text, sizeof(text));
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return error_set(err, errno, "gnuplot: %s", strerror(errno));
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	/* Old C libraries report a missing program by this exit code. */
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return not_found(err);
	return error_set(err, ENOEXEC, "%s/%s: gnuplot failed: %s", directory, script,
			 text[0] ? last_line(text) : "it said nothing");
}

static int read_file(const char *path, char **text, struct error *err)
{
	FILE *file;
	size_t size = 0;
	ssize_t n = -1;
	int code;

	*text = NULL;
	errno = 0;
	file = fopen(path, "re");
	if (file)
		n = getdelim(text, &size, '\0', file);
	code = errno;
	if (file)
		fclose(file);
	if (n > 0)
		return 0;
	free(*text);
	*text = NULL;
	if (code && code != ENOENT)
		return error_set(err, code, "%s: cannot be read again: %s", path, strerror(code));
	return error_set(err, ENOEXEC, "%s: gnuplot drew nothing; is its version 5.4 or later?",
			 path);
}

/*
 * Give the drawing a title of its own and a style by which everything gnuplot drew in black (text,
 * axes, the reference) follows the reader's colour scheme, also where it is shown as an image.
 */
static int finish_svg(const char *directory, const char *name, const struct report_trace *trace,
		      char **svg, struct error *err)
{
	static const char style[] =
		"<style>@media (prefers-color-scheme: dark) {"
		" [color=\"black\"] { color: #e6e6e6 }"
		" [stroke=\"black\"], [stroke=\"rgb(  0,   0,   0)\"] { stroke: #e6e6e6 }"
		" [fill=\"black\"], [fill=\"rgb(  0,   0,   0)\"] { fill: #e6e6e6 } }</style>";
	char path[PATH_MAX], *drawn, *from, *to, *text;
	struct text_stream stream;
	size_t size;
	FILE *out;
	int rc;

	rc = file_path(path, directory, name, ".svg", err);
	if (!rc)
		rc = read_file(path, &drawn, err);
	if (rc)
		return rc;
	from = strstr(drawn, "<title>");
	to = strstr(drawn, "</desc>");
	if (!from || !to || to < from) {
		free(drawn);
		return error_set(err, ENOEXEC, "%s: not as gnuplot 5.4 draws; use that version",
				 path);
	}
	out = text_stream_begin(&stream);
	if (out) {
		fwrite(drawn, 1, (size_t)(from - drawn), out);
		fprintf(out, "<title>%s: ", name);
		text_html(out, trace->name);
		fprintf(out, "</title>\n%s%s", style, to + strlen("</desc>"));
	}
	free(drawn);
	text = text_stream_end(&stream, &size);
	if (!text)
		return error_set(err, ENOMEM, "%s: out of memory", path);
	rc = write_file(directory, name, ".svg", text, size, err);
	if (!rc && svg)
		*svg = text;
	else
		free(text);
	return rc;
}

int plot_draw(enum plot_kind kind, const struct report_trace *trace, const char *directory,
	      const char *name, char **svg, struct error *err)
{
	int rc;

	if (!has_data(trace, kind))
		return 0;
	rc = write_sources(kind, trace, directory, name, err);
	if (!rc)
		rc = run_gnuplot(directory, name, err);
	if (!rc)
		rc = finish_svg(directory, name, trace, svg, err);
	if (rc)
		plot_remove(directory, name);
	return rc ? rc : 1;
}
