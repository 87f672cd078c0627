/* SPDX-License-Identifier: MIT */
#include "analysis/report/gnuplot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "analysis/text.h"
#include "base/bits.h"
#include "base/outfile.h"
#include "base/text_stream.h"

extern char **environ;

static const char *const extensions[] = {".gp", ".dat", ".svg"};

static int file_path(char path[PATH_MAX], const char *directory, const char *name,
		     const char *extension, struct error *err)
{
	if (snprintf(path, PATH_MAX, "%s/%s%s", directory, name, extension) >= PATH_MAX)
		return error_set(err, ENAMETOOLONG, "%s: name too long", directory);
	return 0;
}

void gnuplot_remove(const char *directory, const char *name)
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

int gnuplot_check(struct error *err)
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
static int finish_svg(const char *directory, const char *name, const char *title, char **svg,
		      struct error *err)
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
		text_html(out, title);
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

/* Script and data, from memory, so that a full disk shows in one place. */
static int write_sources(struct gnuplot *g, const char *directory, const char *name,
			 struct error *err)
{
	size_t gp_size, dat_size;
	char *gp = text_stream_end(&g->gp_stream, &gp_size);
	char *dat = text_stream_end(&g->dat_stream, &dat_size);
	int rc = gp && dat ? write_file(directory, name, ".dat", dat, dat_size, err)
			   : error_set(err, ENOMEM, "%s: out of memory", name);

	if (!rc)
		rc = write_file(directory, name, ".gp", gp, gp_size, err);
	free(gp);
	free(dat);
	return rc;
}

bool gnuplot_begin(struct gnuplot *g)
{
	g->gp = text_stream_begin(&g->gp_stream);
	g->dat = text_stream_begin(&g->dat_stream);
	return g->gp && g->dat;
}

int gnuplot_draw(struct gnuplot *g, const char *directory, const char *name, const char *title,
		 char **svg, struct error *err)
{
	int rc = write_sources(g, directory, name, err);

	if (!rc)
		rc = run_gnuplot(directory, name, err);
	if (!rc)
		rc = finish_svg(directory, name, title, svg, err);
	if (rc)
		gnuplot_remove(directory, name);
	return rc;
}
