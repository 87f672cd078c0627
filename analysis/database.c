/* SPDX-License-Identifier: MIT */
#include "analysis/database.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/monotonic.h"

/* A write transaction takes milliseconds; one that lasts longer than this is stuck. */
#define BUSY_SECONDS  5
#define BUSY_PAUSE_NS 20000000

int database_fail(struct database *database, const char *what, struct error *err)
{
	const char *path = database->path;
	const int code = sqlite3_extended_errcode(database->db);
	const int sys = sqlite3_system_errno(database->db);
	int primary = code & 0xff;

	if ((primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN) &&
	    (sys == ENOSPC || sys == EDQUOT))
		primary = SQLITE_FULL;
	switch (primary) {
	case SQLITE_FULL:
		return error_set(err, ENOSPC,
				 "%s: %s: no space left; make room, or name a database elsewhere",
				 path, what);
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return error_set(err, EBUSY,
				 "%s: %s: locked by another process; wait until it is done, or "
				 "name another database",
				 path, what);
	case SQLITE_NOTADB:
		return error_set(err, EBADMSG, "%s: not a results database; name another file",
				 path);
	case SQLITE_CORRUPT:
		/* SQLite says the same of what its disk does not give back. */
		return error_set(err, EBADMSG,
				 "%s: %s: damaged, or the disk cannot be read (%s); save what is "
				 "left with 'sqlite3 FILE .recover'",
				 path, what, sqlite3_errmsg(database->db));
	case SQLITE_READONLY:
	case SQLITE_PERM:
	case SQLITE_AUTH:
		return error_set(err, EACCES,
				 "%s: %s: the file or its directory is read-only; copy it to a "
				 "writable directory",
				 path, what);
	case SQLITE_NOMEM:
		return error_set(err, ENOMEM, "%s: %s: out of memory", path, what);
	case SQLITE_CANTOPEN:
		return error_set(err, sys ? sys : EACCES, "%s: %s: %s; is the directory writable?",
				 path, what, sys ? strerror(sys) : "cannot be opened");
	case SQLITE_IOERR:
		return error_set(err, sys ? sys : EIO, "%s: %s: %s; is the disk well?", path, what,
				 sys ? strerror(sys) : sqlite3_errmsg(database->db));
	default:
		return error_set(err, EIO, "%s: %s: %s", path, what, sqlite3_errmsg(database->db));
	}
}

int database_exec(struct database *database, const char *sql, const char *what, struct error *err)
{
	if (sqlite3_exec(database->db, sql, NULL, NULL, NULL) != SQLITE_OK)
		return database_fail(database, what, err);
	return 0;
}

int database_prepare(struct database *database, const char *sql, sqlite3_stmt **stmt,
		     struct error *err)
{
	if (sqlite3_prepare_v2(database->db, sql, -1, stmt, NULL) != SQLITE_OK)
		return database_fail(database, "reading", err);
	return 0;
}

int database_int(struct database *database, const char *sql, sqlite3_int64 *value,
		 struct error *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = database_prepare(database, sql, &stmt, err);

	if (rc)
		return rc;
	if (sqlite3_step(stmt) == SQLITE_ROW)
		*value = sqlite3_column_int64(stmt, 0);
	else
		rc = database_fail(database, "reading", err);
	sqlite3_finalize(stmt);
	return rc;
}

/* SQLite takes some names for something else than a file (":memory:", "file:..."). */
static char *plain_name(const char *path)
{
	char *name;

	if (asprintf(&name, "%s%s", strchr("/.", path[0]) ? "" : "./", path) < 0)
		return NULL;
	return name;
}

/* SQLite's question whether to try again; @times: it has asked for this lock. */
static int on_busy(void *arg, int times)
{
	static const struct timespec pause = {.tv_nsec = BUSY_PAUSE_NS};
	struct database *database = arg;
	unsigned int seconds;

	if (!times) {
		database->busy_since_ns = monotonic_ns();
		database->busy_asked = 0;
	}
	seconds = (unsigned int)((monotonic_ns() - database->busy_since_ns) / UINT64_C(1000000000));
	if (!database->wait.waiting && seconds >= BUSY_SECONDS)
		return 0;
	if (database->wait.waiting && seconds > database->busy_asked) {
		database->busy_asked = seconds;
		if (!database->wait.waiting(database->wait.arg, database->path, seconds))
			return 0;
	}
	nanosleep(&pause, NULL);
	return 1;
}

void database_set_wait(struct database *database, const struct database_wait *wait)
{
	database->wait = wait ? *wait : (struct database_wait){0};
}

static int open_handle(struct database *database, bool writable, struct error *err)
{
	const int flags =
		writable ? SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE : SQLITE_OPEN_READONLY;
	char *name = plain_name(database->path);
	int rc;

	if (!name)
		return error_set(err, ENOMEM, "%s: out of memory", database->path);
	rc = sqlite3_open_v2(name, &database->db, flags | SQLITE_OPEN_EXRESCODE, NULL);
	free(name);
	if (!database->db)
		return error_set(err, ENOMEM, "%s: out of memory", database->path);
	if (rc != SQLITE_OK)
		return database_fail(database, "open", err);
	sqlite3_busy_handler(database->db, on_busy, database);
	/* The file may come from anywhere: its schema gets no more rights than ours needs. */
	return database_exec(database, "PRAGMA trusted_schema=OFF; PRAGMA foreign_keys=ON", "open",
			     err);
}

/* SQLite would forget why it cannot create a file. */
static int create_file(struct database *database, struct error *err)
{
	const int fd = open(database->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd < 0 && errno != EEXIST)
		return error_set(err, errno, "%s: %s; name a database in a writable directory",
				 database->path, strerror(errno));
	if (fd >= 0) {
		database->created = true;
		close(fd);
	}
	return 0;
}

int database_open(const char *path, bool writable, struct database *database, struct error *err)
{
	struct stat st;
	int rc = 0;

	memset(database, 0, sizeof(*database));
	if (!path[0])
		return error_set(err, EINVAL, "database: the file name is empty");
	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return error_set(err, EISDIR,
					 "%s: is a directory; name a file in it, such as "
					 "results.db",
					 path);
		if (!S_ISREG(st.st_mode))
			return error_set(err, EBADMSG, "%s: not a regular file; name another file",
					 path);
	} else if (!writable) {
		return error_set(err, errno, "%s: %s", path, strerror(errno));
	}
	database->path = strdup(path);
	if (!database->path)
		return error_set(err, ENOMEM, "%s: out of memory", path);
	if (writable)
		rc = create_file(database, err);
	if (!rc)
		rc = open_handle(database, writable, err);
	if (rc) {
		if (database->created)
			unlink(path);
		database_close(database, NULL);
	}
	return rc;
}

int database_close(struct database *database, struct error *err)
{
	int rc = 0;

	if (database->db && sqlite3_close(database->db) != SQLITE_OK) {
		rc = database_fail(database, "close", err);
		sqlite3_close_v2(database->db);
	}
	free(database->path);
	memset(database, 0, sizeof(*database));
	return rc;
}

/* The marks that tell a results database from others. */
struct marks {
	sqlite3_int64 application, version, objects;
};

static int read_marks(struct database *database, struct marks *marks, struct error *err)
{
	int rc = database_int(database, "PRAGMA application_id", &marks->application, err);

	if (!rc)
		rc = database_int(database, "PRAGMA user_version", &marks->version, err);
	if (!rc)
		rc = database_int(database, "SELECT count(*) FROM sqlite_schema", &marks->objects,
				  err);
	return rc;
}

int database_check(struct database *database, bool *fresh, struct error *err)
{
	struct marks marks = {0};
	int rc;

	/* All of one moment: another process may be writing the schema just now. */
	rc = database_exec(database, "SAVEPOINT marks", "reading", err);
	if (rc)
		return rc;
	rc = read_marks(database, &marks, err);
	/* Not ended, it would be in the way of every other transaction. */
	if (!rc)
		rc = database_exec(database, "RELEASE marks", "reading", err);
	if (rc)
		return rc;
	if (fresh)
		*fresh = marks.application == 0 && marks.version == 0 && marks.objects == 0;
	if (fresh && *fresh)
		return 0;
	if (marks.application != DATABASE_APPLICATION || marks.version < 1)
		return error_set(
			err, EBADMSG,
			"%s: a database, but not one of quire's results; name another file",
			database->path);
	if (marks.version > DATABASE_VERSION)
		return error_set(err, EPROTONOSUPPORT,
				 "%s: written by a newer quire (schema %lld, this one knows up to "
				 "%d); update quire, or name another database",
				 database->path, (long long)marks.version, DATABASE_VERSION);
	return 0;
}
