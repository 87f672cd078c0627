/* SPDX-License-Identifier: MIT */
#include "analysis/host.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/bits.h"

#define MEMORY_GRAIN (UINT64_C(64) << 20)

/* The first bytes of a small kernel file, as text. Return: length, or -errno. */
static ssize_t slurp(const char *root, const char *path, char *text, size_t size)
{
	char full[PATH_MAX];
	ssize_t n;
	int fd;

	if (snprintf(full, sizeof(full), "%s%s", root, path) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	do {
		n = read(fd, text, size - 1);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		n = -errno;
	text[n < 0 ? 0 : n] = '\0';
	close(fd);
	return n;
}

/* Copy [from, to) without surrounding blanks; cut to fit. */
static void copy_trimmed(char *dst, size_t size, const char *from, const char *to)
{
	size_t n;

	while (from < to && (*from == ' ' || *from == '\t'))
		from++;
	while (to > from && strchr(" \t\n\r", to[-1]))
		to--;
	n = (size_t)(to - from);
	if (n >= size)
		n = size - 1;
	memcpy(dst, from, n);
	dst[n] = '\0';
}

/* The value of "KEY : value" in @text. Return: false if there is no such line. */
static bool find_value(const char *text, const char *key, char *value, size_t size)
{
	const size_t len = strlen(key);

	for (const char *line = text; *line;) {
		const char *end = strchrnul(line, '\n');
		const char *colon = memchr(line, ':', (size_t)(end - line));

		if (colon && strncmp(line, key, len) == 0 &&
		    strspn(line + len, " \t") == (size_t)(colon - line) - len) {
			copy_trimmed(value, size, colon + 1, end);
			return value[0] != '\0';
		}
		line = *end ? end + 1 : end;
	}
	return false;
}

/* "always [madvise] never": the word in brackets. */
static void read_bracketed(const char *root, const char *path, char *value, size_t size)
{
	char text[128];
	const char *open, *close_;

	if (slurp(root, path, text, sizeof(text)) <= 0)
		return;
	open = strchr(text, '[');
	close_ = open ? strchr(open, ']') : NULL;
	if (close_)
		copy_trimmed(value, size, open + 1, close_);
}

static void read_line(const char *root, const char *path, char *value, size_t size)
{
	char text[128];

	if (slurp(root, path, text, sizeof(text)) > 0)
		copy_trimmed(value, size, text, strchrnul(text, '\n'));
}

void host_read(const char *root, struct host *host)
{
	/* Enough for the first processor's lines; x86 says "model name", others "Processor". */
	static const char *const model_keys[] = {"model name", "Processor", "cpu model", "cpu"};
	char text[4096], number[32];
	struct utsname name;
	long cores;

	memset(host, 0, sizeof(*host));
	strcpy(host->cpu_model, "unknown");
	strcpy(host->kernel, "unknown");
	strcpy(host->thp, "unknown");
	strcpy(host->governor, "unknown");
	strcpy(host->boot_id, "unknown");
	if (slurp(root, "/proc/cpuinfo", text, sizeof(text)) > 0) {
		for (size_t i = 0; i < ARRAY_SIZE(model_keys); i++) {
			if (find_value(text, model_keys[i], host->cpu_model,
				       sizeof(host->cpu_model)))
				break;
		}
	}
	if (slurp(root, "/proc/meminfo", text, sizeof(text)) > 0 &&
	    find_value(text, "MemTotal", number, sizeof(number)))
		host->memory_bytes = align_down(
			strtoull(number, NULL, 10) * 1024 + MEMORY_GRAIN / 2, MEMORY_GRAIN);
	read_bracketed(root, "/sys/kernel/mm/transparent_hugepage/enabled", host->thp,
		       sizeof(host->thp));
	read_line(root, "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", host->governor,
		  sizeof(host->governor));
	read_line(root, "/proc/sys/kernel/random/boot_id", host->boot_id, sizeof(host->boot_id));
	if (uname(&name) == 0)
		snprintf(host->kernel, sizeof(host->kernel), "%.70s %.20s", name.release,
			 name.machine);
	cores = sysconf(_SC_NPROCESSORS_ONLN);
	host->cores = cores > 0 ? (uint32_t)cores : 0;
}

int host_process_start(const char *root, pid_t pid, uint64_t *ticks)
{
	char path[64], text[1024];
	char *p;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	n = slurp(root, path, text, sizeof(text));
	if (n == -ENOENT || n == -ESRCH)
		return -ESRCH;
	if (n <= 0)
		return -EIO;
	/* Field 2 is the command in parentheses and may itself hold blanks and parentheses. */
	p = strrchr(text, ')');
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	if (!p || *p < '0' || *p > '9')
		return -EIO;
	*ticks = strtoull(p, NULL, 10);
	return 0;
}
