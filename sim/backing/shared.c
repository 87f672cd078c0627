/* SPDX-License-Identifier: MIT */
/* Shared memory: without a name, or a file, which outlives the process. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/backing/backing.h"

/* Disk space first: a page that finds no room when it is touched is a SIGBUS. */
static int file_get(struct mapped *m, size_t piece, struct error *err)
{
	if (!fallocate(m->fd, 0, (off_t)(m->offset + piece * BACKING_HUGE_BYTES),
		       (off_t)BACKING_HUGE_BYTES) ||
	    errno == EOPNOTSUPP)
		return 0;
	return error_set(err, errno, "no room for more memory: %s; make room, or use another file",
			 strerror(errno));
}

static int map_shared(struct memory *m, int fd, struct error *err)
{
	int rc = mapped_create(m, PROT_READ | PROT_WRITE, MAP_SHARED, fd, err);

	if (!rc)
		mapped_of(m)->get = file_get;
	return rc;
}

static int memfd_map(struct memory *m, struct error *err)
{
	int fd = memfd_create("quire-frames", MFD_CLOEXEC);

	if (fd < 0)
		return error_set(err, errno, "cannot make shared memory: %s", strerror(errno));
	return map_shared(m, fd, err);
}

static int file_map(struct memory *m, struct error *err)
{
	int fd, rc;

	if (m->file_offset) {
		fd = fcntl(m->fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? error_set(err, errno, "%s: %s", m->path, strerror(errno))
			      : map_shared(m, fd, err);
	}
	if (!m->path || !m->path[0])
		return error_set(err, EINVAL, "it needs the path of a file");
	fd = open(m->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set(err, errno, "%s: %s; name another file", m->path, strerror(errno));
	rc = map_shared(m, fd, err);
	if (rc) {
		if (err)
			error_prefix(err, "%s", m->path);
		unlink(m->path);
	}
	return rc;
}

static int shared_discard(struct memory *m, struct pfn_range range)
{
	return mapped_discard(m, range, MADV_REMOVE);
}

const struct memory_ops backing_memfd = {
	.map = memfd_map,
	.prepare = mapped_prepare,
	.touch = mapped_touch,
	.discard = shared_discard,
	.unmap = mapped_destroy,
};

const struct memory_ops backing_file = {
	.map = file_map,
	.prepare = mapped_prepare,
	.touch = mapped_touch,
	.discard = shared_discard,
	.unmap = mapped_destroy,
};
