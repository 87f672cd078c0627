/* SPDX-License-Identifier: MIT */
#include "sim/backing/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bits.h"
#include "base/format.h"
#include "base/host_memory.h"
#include "sim/backing/backing.h"

#define SIZE  "nr_hugepages"
#define PAGES HUGETLB_POOL "/" SIZE

#define SPARE_BYTES (UINT64_C(1) << 30) /* of the host, for everybody else */

/*
 * A process of its own makes the pool larger, and puts it right when the other end of its pipe is closed, however
 * that comes about: there is no moment at which nobody would.
 */
struct hugetlb_pool {
	int guard; /* that other end */
	pid_t guardian;
};

/* What the guardian says of its work. */
struct report {
	int code;     /* 0 or a negative errno */
	uint64_t got; /* pages */
};

int hugetlb_pool_read(const char *name, uint64_t *pages)
{
	char path[sizeof(HUGETLB_POOL) + 32];
	FILE *f;
	int rc;

	snprintf(path, sizeof(path), "%s/%s", HUGETLB_POOL, name);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	rc = fscanf(f, "%" SCNu64, pages) == 1 ? 0 : -EIO;
	fclose(f);
	return rc;
}

static int write_pages(uint64_t pages)
{
	int fd = open(PAGES, O_WRONLY | O_CLOEXEC), rc = 0;
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRIu64, pages);

	if (fd < 0)
		return -errno;
	if (write(fd, text, (size_t)n) != n)
		rc = -errno;
	close(fd);
	return rc;
}

/* In the guardian. Others may change the pool meanwhile: only what was added goes. */
static void give_back(uint64_t added)
{
	uint64_t pages;

	if (added && !hugetlb_pool_read(SIZE, &pages))
		(void)write_pages(pages > added ? pages - added : 0);
}

static struct report grow(uint64_t wanted)
{
	uint64_t before = 0, after = 0;
	struct report r = {.code = hugetlb_pool_read(SIZE, &before)};

	if (!r.code)
		r.code = write_pages(before + wanted);
	if (!r.code)
		r.code = hugetlb_pool_read(SIZE, &after);
	r.got = after > before ? after - before : 0;
	if (!r.code && r.got < wanted)
		r.code = -ENOMEM;
	return r;
}

static void __attribute__((noreturn)) guard(int control, int answer, uint64_t wanted)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
	struct report r;
	char byte;

	setsid();
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		signal(signals[i], SIG_IGN);
	r = grow(wanted);
	if (write(answer, &r, sizeof(r)) == sizeof(r) && !r.code) {
		dup2(control, STDIN_FILENO);
		close_range(STDIN_FILENO + 1, ~0U, 0);
		while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR)
			;
	}
	give_back(r.got);
	_exit(0);
}

static int start_guardian(struct hugetlb_pool *pool, uint64_t wanted, struct report *r,
			  struct error *err)
{
	int control[2], answer[2], rc = 0;

	if (pipe2(control, O_CLOEXEC))
		return error_set(err, errno, "pipe: %s", strerror(errno));
	if (pipe2(answer, O_CLOEXEC)) {
		rc = error_set(err, errno, "pipe: %s", strerror(errno));
		close(control[0]);
		close(control[1]);
		return rc;
	}
	fflush(NULL);
	pool->guardian = fork();
	if (!pool->guardian) {
		close(control[1]);
		guard(control[0], answer[1], wanted);
	}
	if (pool->guardian < 0)
		rc = error_set(err, errno, "fork: %s", strerror(errno));
	close(control[0]);
	close(answer[1]);
	pool->guard = control[1];
	if (!rc && read(answer[0], r, sizeof(*r)) != sizeof(*r))
		*r = (struct report){.code = -EIO};
	close(answer[0]);
	if (rc)
		close(control[1]);
	return rc;
}

int hugetlb_pool_grow(uint64_t bytes, struct hugetlb_pool **out, struct error *err)
{
	const uint64_t available = host_memory_available("");
	struct hugetlb_pool *pool;
	struct report r = {0};
	char size[FORMAT_MAX], left[FORMAT_MAX];
	int rc;

	format_size(size, bytes);
	format_size(left, available);
	/* The kernel would try, and squeeze everybody else out meanwhile. */
	if (bytes > available || available - bytes < SPARE_BYTES)
		return error_set(err, ENOMEM,
				 "%s more for the host's pool of huge pages: only %s of memory are "
				 "free; ask for less",
				 size, left);
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return error_set(err, ENOMEM, "no memory");
	rc = start_guardian(pool, div_round_up(bytes, BACKING_HUGE_BYTES), &r, err);
	if (rc) {
		free(pool);
		return rc;
	}
	*out = pool;
	if (!r.code)
		return 0;
	*out = NULL;
	hugetlb_pool_restore(pool);
	format_size(size, r.got * BACKING_HUGE_BYTES);
	if (r.code == -ENOMEM)
		return error_set(err, ENOMEM,
				 "the host has only %s more for its pool of huge pages; ask for "
				 "less, or free memory",
				 size);
	return error_set(err, -r.code, "%s: %s; only root can change the pool, if the host has one",
			 PAGES, strerror(-r.code));
}

void hugetlb_pool_restore(struct hugetlb_pool *pool)
{
	if (!pool)
		return;
	close(pool->guard);
	while (waitpid(pool->guardian, NULL, 0) < 0 && errno == EINTR)
		;
	free(pool);
}
