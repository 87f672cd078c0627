/* SPDX-License-Identifier: MIT */
/*
 * Metadata in a file that survives the process: what was there is found again byte for byte
 * whenever the owner was killed, and what is not ours, not whole or in use is refused and left as
 * it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocators/registry.h"
#include "base/bits.h"

/* ---- a back end that keeps pieces, and notes in the first one which ---- */

#define GROWN_MAX 64

struct root {
	_Atomic uint32_t nr_grown;
	struct {
		uint32_t bytes, align;
	} grown[GROWN_MAX];
};

#define DATA_BYTES 5000
#define DATA_ALIGN 65536

struct allocator {
	const struct alloc_env *env;
	struct root *root;
	unsigned char *data;
	unsigned char *grown[GROWN_MAX];
	unsigned char *scratch; /* volatile */
};

#define SCRATCH_BYTES 100000

/* What a test makes go wrong; one process, one thread. */
static struct {
	size_t extra_bytes, extra_align; /* of the second piece */
	bool fail_create, fail_recover;
	bool die_in_create, die_in_recover, die_in_online;
	size_t forget; /* grown pieces that recover() does not ask for */
} fault;

static void die(void)
{
	kill(getpid(), SIGKILL);
}

static unsigned char pattern(size_t piece, size_t i)
{
	return (unsigned char)(1 + (piece * 37 + i * 11 + (i >> 8) * 3) % 255);
}

static void fill(unsigned char *at, size_t piece, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		at[i] = pattern(piece, i);
}

static bool filled(const unsigned char *at, size_t piece, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (at[i] != pattern(piece, i))
			return false;
	}
	return true;
}

static bool zeroed(const unsigned char *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (at[i])
			return false;
	}
	return true;
}

static int keeper_begin(const struct alloc_env *env, struct allocator **out)
{
	struct allocator *a = env->meta(env, sizeof(*a), 64, META_VOLATILE);

	if (!a)
		return -ENOMEM;
	a->env = env;
	a->root = env->meta(env, sizeof(*a->root), 64, META_PERSISTENT);
	a->scratch = env->meta(env, SCRATCH_BYTES, 64, META_VOLATILE);
	if (!a->root || !a->scratch)
		return -ENOMEM;
	a->data = env->meta(env, DATA_BYTES + fault.extra_bytes, DATA_ALIGN + fault.extra_align,
			    META_PERSISTENT);
	if (!a->data)
		return -ENOMEM;
	*out = a;
	return 0;
}

static int keeper_create(const struct alloc_env *env, struct allocator **a)
{
	int rc = keeper_begin(env, a);

	if (fault.fail_create)
		return error_set(env->error, ERANGE, "told to fail");
	if (rc == 0)
		fill((*a)->data, 1000, DATA_BYTES);
	if (fault.die_in_create)
		die();
	return rc;
}

static int keeper_recover(const struct alloc_env *env, struct allocator **a)
{
	int rc = keeper_begin(env, a);
	size_t n;

	if (rc)
		return rc;
	n = (*a)->root->nr_grown - fault.forget;
	for (size_t i = 0; i < n; i++) {
		(*a)->grown[i] = env->meta(env, (*a)->root->grown[i].bytes,
					   (*a)->root->grown[i].align, META_PERSISTENT);
		if (!(*a)->grown[i])
			return -ENOMEM;
	}
	(*a)->root->nr_grown = (uint32_t)n;
	if (fault.die_in_recover) {
		/* Beyond the recorded ones: zeroed each time, and must not count. */
		unsigned char *beyond = env->meta(env, 4321, 1, META_PERSISTENT);

		if (!zeroed(beyond, 4321))
			return -EUCLEAN;
		memset(beyond, 0xee, 4321);
		die();
	}
	if (fault.fail_recover)
		return error_set(env->error, ERANGE, "told to fail");
	return 0;
}

static void keeper_destroy(struct allocator *a)
{
	(void)a;
}

static struct alloc_result keeper_alloc(struct allocator *a, const struct alloc_request *req)
{
	(void)a;
	(void)req;
	return (struct alloc_result){.pfn = PFN_NONE};
}

static int keeper_free(struct allocator *a, pfn_t pfn, const struct alloc_request *req)
{
	(void)a;
	(void)pfn;
	(void)req;
	return -EINVAL;
}

/* Memory comes: a piece of range.end - range.start bytes. */
static int keeper_online(struct allocator *a, struct pfn_range range)
{
	uint32_t n = a->root->nr_grown, align = 1U << range.start % 14;
	size_t bytes = (size_t)(range.end - range.start);

	if (n == GROWN_MAX)
		return -ENOMEM;
	a->grown[n] = a->env->meta(a->env, bytes, align, META_PERSISTENT);
	if (!a->grown[n])
		return -ENOMEM;
	if (!zeroed(a->grown[n], bytes))
		return -EUCLEAN;
	fill(a->grown[n], n, bytes);
	if (fault.die_in_online)
		die();
	a->root->grown[n].bytes = (uint32_t)bytes;
	a->root->grown[n].align = align;
	atomic_store_explicit(&a->root->nr_grown, n + 1, memory_order_release);
	return 0;
}

static const struct option keeper_options[] = {
	{.name = "depth", .type = OPTION_UINT, .fallback = "4", .min = 1, .max = 9, .help = "x"},
	{.name = NULL},
};

static const struct allocator_ops keeper_ops = {
	.magic = ALLOCATOR_MAGIC,
	.abi_version = ALLOCATOR_ABI_VERSION,
	.size = sizeof(struct allocator_ops),
	.name = "keeper",
	.summary = "keeps pieces",
	.capabilities = ALLOCATOR_PERSISTENT,
	.options = keeper_options,
	.create = keeper_create,
	.destroy = keeper_destroy,
	.alloc = keeper_alloc,
	.free = keeper_free,
	.online = keeper_online,
	.recover = keeper_recover,
};

/* ---- fixture ---- */

struct rig {
	struct allocator_ops ops;
	struct allocator_spec spec;
	struct machine *m;
	struct allocator_instance *instance;
	struct allocator_place place;
	char dir[256], path[300];
	struct error err;
};

static void no_faults(void)
{
	memset(&fault, 0, sizeof(fault));
}

/* Where files cost no disk access, if there is such a place. */
static const char *scratch_directory(void)
{
	const char *dir = getenv("TMPDIR");

	if (access("/dev/shm", W_OK) == 0)
		return "/dev/shm";
	return dir ? dir : P_tmpdir;
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	no_faults();
	rig->ops = keeper_ops;
	rig->spec.ops = &rig->ops;
	snprintf(rig->dir, sizeof(rig->dir), "%s/quire-metadata-XXXXXX", scratch_directory());
	if (!mkdtemp(rig->dir))
		return -1;
	snprintf(rig->path, sizeof(rig->path), "%s/x.meta", rig->dir);
	rig->place.metadata_file = rig->path;
	*state = rig;
	if (option_set_create(rig->ops.options, &rig->spec.options, NULL))
		return -1;
	return machine_from_memory(UINT64_C(1) << 30, 2, &rig->m, NULL);
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	allocator_instance_destroy(rig->instance);
	machine_destroy(rig->m);
	option_set_destroy(rig->spec.options);
	unlink(rig->path);
	rmdir(rig->dir);
	free(rig);
	return 0;
}

static int begin_create(struct rig *rig)
{
	memset(&rig->err, 0, sizeof(rig->err));
	return allocator_instance_create(&rig->spec, rig->m, &rig->place, &rig->instance,
					 &rig->err);
}

static int begin_recover(struct rig *rig)
{
	memset(&rig->err, 0, sizeof(rig->err));
	return allocator_instance_recover(&rig->spec, rig->m, &rig->place, &rig->instance,
					  &rig->err);
}

static void create(struct rig *rig)
{
	if (begin_create(rig))
		fail_msg("%s", rig->err.text);
}

static void recover(struct rig *rig)
{
	if (begin_recover(rig))
		fail_msg("%s", rig->err.text);
}

static void stop(struct rig *rig)
{
	allocator_instance_destroy(rig->instance);
	rig->instance = NULL;
}

static int grow(struct rig *rig, size_t bytes, unsigned int align_log2)
{
	struct pfn_range range = {14 * 5 + align_log2, 14 * 5 + align_log2 + bytes};

	return rig->ops.online(rig->instance->a, range);
}

/* Everything the back end knows of is as it was filled; and no piece lies on another. */
static void assert_contents(const struct rig *rig, size_t nr_grown)
{
	const struct allocator *a = rig->instance->a;

	assert_int_equal(a->root->nr_grown, nr_grown);
	assert_int_equal((uintptr_t)a->data % DATA_ALIGN, 0);
	assert_true(filled(a->data, 1000, DATA_BYTES));
	for (size_t i = 0; i < nr_grown; i++) {
		assert_int_equal((uintptr_t)a->grown[i] % a->root->grown[i].align, 0);
		assert_true(filled(a->grown[i], i, a->root->grown[i].bytes));
	}
}

/* Not inlined: with sanitizers gcc would warn of a NULL no caller passes. */
__attribute__((noinline)) static void assert_said(const struct rig *rig, const char *expected)
{
	if (!strstr(rig->err.text, expected))
		fail_msg("'%s' not in '%s'", expected, rig->err.text);
}

/* Refused with this code and these words. */
#define REFUSED(call, code, expected)                                                              \
	do {                                                                                       \
		int refused_rc = (call);                                                           \
		if (refused_rc != -(code))                                                         \
			fail_msg("%d instead of %d: %s", refused_rc, -(code), rig->err.text);      \
		assert_null(rig->instance);                                                        \
		assert_said(rig, "keeper: ");                                                      \
		assert_said(rig, expected);                                                        \
	} while (0)

static bool exists(const struct rig *rig)
{
	return access(rig->path, F_OK) == 0;
}

static off_t file_bytes(const struct rig *rig)
{
	struct stat st;

	assert_int_equal(stat(rig->path, &st), 0);
	return st.st_size;
}

/* The whole file, malloc'ed. */
static unsigned char *slurp(const struct rig *rig, size_t *bytes)
{
	int fd = open(rig->path, O_RDONLY);
	unsigned char *at;

	*bytes = (size_t)file_bytes(rig);
	at = malloc(*bytes + 1);
	assert_int_equal(read(fd, at, *bytes + 1), *bytes);
	close(fd);
	return at;
}

static void spew(const struct rig *rig, const void *from, size_t bytes)
{
	int fd = open(rig->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, from, bytes), bytes);
	close(fd);
}

static void assert_unchanged(const struct rig *rig, const unsigned char *was, size_t bytes)
{
	size_t now_bytes;
	unsigned char *now = slurp(rig, &now_bytes);

	assert_int_equal(now_bytes, bytes);
	assert_memory_equal(now, was, bytes);
	free(now);
}

/* An instance with a few pieces, destroyed again. */
static void leave_file(struct rig *rig)
{
	create(rig);
	assert_int_equal(grow(rig, 100, 3), 0);
	assert_int_equal(grow(rig, 70000, 13), 0);
	stop(rig);
}

/* Run @body in a child process, which is expected to kill itself. */
static void in_dying_child(struct rig *rig, void (*body)(struct rig *))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		body(rig);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* ---- what is kept ---- */

static void pieces_are_found_again_in_order_and_grow_further(void **state)
{
	struct rig *rig = *state;
	uint64_t bytes;

	create(rig);
	for (unsigned int i = 0; i < 14; i++)
		assert_int_equal(grow(rig, 1 + i * 1777, i), 0);
	bytes = rig->instance->metadata_bytes;
	for (unsigned int round = 0; round < 3; round++) {
		assert_contents(rig, 14 + round);
		memset(rig->instance->a->scratch, 1, SCRATCH_BYTES);
		stop(rig);
		recover(rig);
		assert_contents(rig, 14 + round);
		assert_int_equal(rig->instance->metadata_bytes, bytes);
		assert_true(zeroed(rig->instance->a->scratch, SCRATCH_BYTES));
		assert_int_equal(grow(rig, 333, 4), 0);
		bytes += 333;
	}
}

static void volatile_pieces_take_no_room_in_the_file(void **state)
{
	struct rig *rig = *state;
	const struct alloc_env *env;
	off_t before;

	create(rig);
	env = rig->instance->a->env;
	before = file_bytes(rig);
	assert_non_null(env->meta(env, 1 << 20, 64, META_VOLATILE));
	assert_int_equal(file_bytes(rig), before);
	assert_non_null(env->meta(env, 1 << 20, 64, META_PERSISTENT));
	assert_int_equal(file_bytes(rig), before + (1 << 20));
}

static void pieces_keep_their_place_while_others_come(void **state)
{
	struct rig *rig = *state;
	const struct alloc_env *env;
	unsigned char *p[40];

	create(rig);
	env = rig->instance->a->env;
	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		size_t align = (size_t)1 << i % 23;

		p[i] = env->meta(env, i * 1000, align, META_PERSISTENT);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % align, 0);
		assert_true(zeroed(p[i], i * 1000));
		fill(p[i], i, i * 1000);
	}
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		assert_true(filled(p[i], i, i * 1000));
}

static void impossible_pieces_are_null_and_change_nothing(void **state)
{
	struct rig *rig = *state;
	const struct alloc_env *env;
	uint64_t counted;
	off_t before;

	create(rig);
	env = rig->instance->a->env;
	before = file_bytes(rig);
	counted = rig->instance->metadata_bytes;
	assert_null(env->meta(env, SIZE_MAX, 64, META_PERSISTENT));
	assert_null(env->meta(env, SIZE_MAX / 2, 64, META_PERSISTENT));
	assert_null(env->meta(env, (size_t)1 << 62, 64, META_PERSISTENT));
	assert_null(env->meta(env, 8, (size_t)1 << 63, META_PERSISTENT));
	assert_null(env->meta(env, 8, 3, META_PERSISTENT));
	assert_null(env->meta(env, 8, 0, META_PERSISTENT));
	assert_int_equal(file_bytes(rig), before);
	assert_int_equal(rig->instance->metadata_bytes, counted);
	assert_int_equal(grow(rig, 10, 0), 0);
	stop(rig);
	recover(rig);
	assert_contents(rig, 1);
}

static void there_is_room_for_as_many_pieces_as_stated(void **state)
{
	struct rig *rig = *state;
	struct metadata *metadata;
	struct metadata_identity identity = {"keeper", "", rig->m};

	assert_int_equal(metadata_create_file(rig->path, &identity, &metadata, NULL), 0);
	for (unsigned int i = 0; i < METADATA_PIECES_MAX; i++)
		assert_non_null(metadata_alloc(metadata, 1, 1, META_PERSISTENT));
	assert_null(metadata_error(metadata));
	assert_null(metadata_alloc(metadata, 1, 1, META_PERSISTENT));
	assert_int_equal(metadata_error(metadata)->code, EMFILE);
	assert_non_null(metadata_alloc(metadata, 1, 1, META_VOLATILE));
	assert_int_equal(metadata_commit(metadata, NULL), 0);
	metadata_destroy(metadata);
	assert_int_equal(metadata_open_file(rig->path, &identity, &metadata, &rig->err), 0);
	metadata_destroy(metadata);
}

/* What recover() does not ask for may be a piece the dead one had just got. */
static void what_recover_leaves_is_gone_and_its_room_zeroed(void **state)
{
	struct rig *rig = *state;
	off_t two, now;

	leave_file(rig);
	two = file_bytes(rig);
	fault.forget = 1;
	recover(rig);
	no_faults();
	assert_contents(rig, 1);
	now = file_bytes(rig);
	assert_true(now < two);
	assert_int_equal(grow(rig, 3 * 70000, 2), 0); /* finds zeros */
	stop(rig);
	recover(rig);
	assert_contents(rig, 2);
}

static void a_file_says_whether_its_stores_are_durable(void **state)
{
	struct rig *rig = *state;
	int fd;
	void *at;

	create(rig);
	fd = open(rig->path, O_RDWR);
	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
	assert_int_equal(metadata_synchronous(rig->instance->metadata), at != MAP_FAILED);
	if (at != MAP_FAILED)
		munmap(at, 4096);
	close(fd);
	stop(rig);
	rig->place.metadata_file = NULL;
	create(rig);
	assert_false(metadata_synchronous(rig->instance->metadata));
	rig->place.metadata_file = rig->path;
}

static void holes_of_a_copied_file_are_filled_on_recovery(void **state)
{
	struct rig *rig = *state;
	struct stat st;
	int fd;

	create(rig);
	assert_int_equal(grow(rig, 1 << 20, 12), 0);
	memset(rig->instance->a->grown[0], 0, 1 << 20);
	stop(rig);
	fd = open(rig->path, O_RDWR);
	assert_int_equal(fstat(fd, &st), 0);
	if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, st.st_size - (1 << 20),
		      1 << 20)) {
		close(fd);
		print_message("# the file system has no holes\n");
		skip();
	}
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 < st.st_size);
	recover(rig);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(st.st_blocks * 512 >= st.st_size);
	assert_true(zeroed(rig->instance->a->grown[0], 1 << 20));
	close(fd);
}

/* ---- what is refused ---- */

static void an_existing_file_is_never_overwritten(void **state)
{
	struct rig *rig = *state;
	unsigned char *was;
	size_t bytes;

	leave_file(rig);
	was = slurp(rig, &bytes);
	REFUSED(begin_create(rig), EEXIST, "remove it");
	assert_unchanged(rig, was, bytes);
	free(was);
	spew(rig, "my thesis", 9);
	REFUSED(begin_create(rig), EEXIST, rig->path);
	assert_unchanged(rig, (const unsigned char *)"my thesis", 9);
}

static void a_failed_create_leaves_no_file(void **state)
{
	struct rig *rig = *state;

	fault.fail_create = true;
	REFUSED(begin_create(rig), ERANGE, "told to fail");
	assert_false(exists(rig));
	no_faults();
	rig->place.metadata_file = "/nonexistent/x.meta";
	REFUSED(begin_create(rig), ENOENT, "/nonexistent/x.meta");
	REFUSED(begin_recover(rig), ENOENT, "/nonexistent/x.meta");
}

static void a_failed_recover_can_be_tried_again(void **state)
{
	struct rig *rig = *state;
	unsigned char *was;
	size_t bytes;

	leave_file(rig);
	was = slurp(rig, &bytes);
	fault.fail_recover = true;
	REFUSED(begin_recover(rig), ERANGE, "told to fail");
	no_faults();
	assert_unchanged(rig, was, bytes);
	free(was);
	recover(rig);
	assert_contents(rig, 2);
}

static void a_live_file_has_one_owner(void **state)
{
	struct rig *rig = *state;
	struct allocator_instance *first;
	int status;
	pid_t pid;

	create(rig);
	first = rig->instance;
	rig->instance = NULL;
	REFUSED(begin_recover(rig), EBUSY, "in use");
	REFUSED(begin_create(rig), EEXIST, "exists");
	pid = fork();
	if (pid == 0) {
		int rc = begin_recover(rig);

		_exit(rc == -EBUSY ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	allocator_instance_destroy(first);
	recover(rig);
	assert_contents(rig, 0);
}

static void a_back_end_must_ask_for_what_it_had(void **state)
{
	struct rig *rig = *state;
	unsigned char *was;
	size_t bytes;

	leave_file(rig);
	was = slurp(rig, &bytes);
	fault.extra_bytes = 1;
	REFUSED(begin_recover(rig), EUCLEAN, "piece 1 of the metadata has 5000 bytes");
	fault.extra_bytes = (size_t)-1;
	REFUSED(begin_recover(rig), EUCLEAN, "not 4999");
	no_faults();
	fault.extra_align = DATA_ALIGN;
	REFUSED(begin_recover(rig), EUCLEAN, "aligned to 131072");
	no_faults();
	assert_unchanged(rig, was, bytes);
	free(was);
	recover(rig);
	assert_contents(rig, 2);
}

static void other_options_and_back_ends_are_refused(void **state)
{
	struct rig *rig = *state;
	unsigned char *was;
	size_t bytes;

	leave_file(rig);
	was = slurp(rig, &bytes);
	assert_int_equal(option_set_assign(rig->spec.options, "depth", "5", NULL), 0);
	REFUSED(begin_recover(rig), EINVAL, "made by keeper with 'depth=4'");
	assert_int_equal(option_set_assign(rig->spec.options, "depth", "4", NULL), 0);
	rig->ops.name = "keepers";
	assert_int_equal(begin_recover(rig), -EINVAL);
	assert_said(rig, "not by keepers");
	rig->ops.name = "keeper";
	assert_unchanged(rig, was, bytes);
	free(was);
	recover(rig);
	assert_contents(rig, 2);
}

static void refused_on(struct rig *rig, struct machine *other)
{
	struct machine *own = rig->m;

	rig->m = other;
	REFUSED(begin_recover(rig), EINVAL, "262144 managed frames");
	rig->m = own;
}

static void another_machine_is_refused_whatever_differs(void **state)
{
	struct rig *rig = *state;
	struct machine *other;

	leave_file(rig);
	assert_int_equal(machine_from_memory(UINT64_C(2) << 30, 2, &other, NULL), 0);
	refused_on(rig, other);
	machine_destroy(other);
	assert_int_equal(machine_from_memory(UINT64_C(1) << 30, 3, &other, NULL), 0);
	refused_on(rig, other);
	machine_destroy(other);

	assert_int_equal(machine_copy(rig->m, &other, NULL), 0);
	other->zones[0].watermark.low++;
	refused_on(rig, other);
	other->zones[0].watermark.low--;
	other->zones[0].type = ZONE_MOVABLE;
	refused_on(rig, other);
	other->zones[0].type = ZONE_NORMAL;
	other->zones[0].lowmem_reserve[ZONE_MOVABLE] = 1;
	refused_on(rig, other);
	other->zones[0].lowmem_reserve[ZONE_MOVABLE] = 0;
	assert_int_equal(machine_add_absent(other, (struct pfn_range){7, 8}, ABSENT_HOLE, NULL), 0);
	refused_on(rig, other);
	machine_destroy(other);
	/* An equal one is as good as the same. */
	assert_int_equal(machine_copy(rig->m, &other, NULL), 0);
	assert_int_equal(
		allocator_instance_recover(&rig->spec, other, &rig->place, &rig->instance, NULL),
		0);
	assert_contents(rig, 2);
	stop(rig);
	machine_destroy(other);
}

static void foreign_files_are_refused_and_left_alone(void **state)
{
	static const unsigned char zeros[4096];
	struct rig *rig = *state;
	unsigned char noise[5000];
	unsigned int seed = 5;

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (unsigned char)rand_r(&seed);
	spew(rig, "", 0);
	REFUSED(begin_recover(rig), EUCLEAN, "never finished");
	spew(rig, zeros, sizeof(zeros));
	REFUSED(begin_recover(rig), EUCLEAN, "never finished");
	spew(rig, "quiremet", 8);
	REFUSED(begin_recover(rig), EBADMSG, "too short");
	spew(rig, noise, sizeof(noise));
	REFUSED(begin_recover(rig), EBADMSG, "not a metadata file");
	assert_unchanged(rig, noise, sizeof(noise));
	rig->place.metadata_file = "/dev/null";
	REFUSED(begin_recover(rig), EBADMSG, "not a metadata file");
	rig->place.metadata_file = rig->dir;
	REFUSED(begin_recover(rig), EISDIR, rig->dir);
}

static void a_file_cut_short_anywhere_is_refused(void **state)
{
	struct rig *rig = *state;
	unsigned char *whole;
	size_t bytes;
	unsigned int cuts = 0;

	leave_file(rig);
	whole = slurp(rig, &bytes);
	for (size_t at = 0; at < bytes; at += at < 300 ? 1 : 1999, cuts++) {
		int rc;

		spew(rig, whole, at);
		rc = begin_recover(rig);
		if (rc != -EBADMSG && !(at == 0 && rc == -EUCLEAN))
			fail_msg("cut to %zu of %zu bytes: %d: %s", at, bytes, rc, rig->err.text);
		assert_int_equal(file_bytes(rig), at);
	}
	assert_true(cuts > 300);
	spew(rig, whole, bytes);
	free(whole);
	recover(rig);
	assert_contents(rig, 2);
}

/* A change of one byte of head or table: refused, or it made no difference. */
static bool survives(struct rig *rig, const unsigned char *whole, size_t bytes, size_t at,
		     unsigned char change)
{
	unsigned char byte = whole[at] ^ change;
	int fd = open(rig->path, O_RDWR), rc;

	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	rc = begin_recover(rig);
	if (rc == 0) {
		assert_contents(rig, 2);
		stop(rig);
	} else if (rc != -EBADMSG && rc != -EINVAL && rc != -EUCLEAN) {
		fail_msg("byte %zu ^ 0x%x: %d: %s", at, change, rc, rig->err.text);
	}
	assert_int_equal(pwrite(fd, &whole[at], 1, (off_t)at), 1);
	close(fd);
	assert_int_equal(file_bytes(rig), bytes);
	return rc == 0;
}

static void each_damaged_byte_of_the_head_is_refused_or_harmless(void **state)
{
	struct rig *rig = *state;
	unsigned char *whole;
	size_t bytes, refused = 0, text, table;
	unsigned int seed = 17;

	leave_file(rig);
	whole = slurp(rig, &bytes);
	text = strlen("keeper") + 1 + strlen("depth=4") + 1;
	/* The pieces begin with the root, which says that two were grown; the table ends there. */
	for (table = 4096; table < bytes && whole[table] != 2; table += 4096)
		;
	table -= METADATA_PIECES_MAX * 32;
	for (size_t at = 0; at < table + 5 * 32; at++) {
		unsigned char change = (unsigned char)(1U << rand_r(&seed) % 8);
		bool all = survives(rig, whole, bytes, at, 0xff);
		bool one = survives(rig, whole, bytes, at, change);

		if (at < 64 + text) /* the head has no byte to spare */
			assert_false(all || one);
		if (at >= table && at < table + 4 * 32) /* nor have entries that count */
			assert_false(all || one);
		refused += (all ? 0U : 1U) + (one ? 0U : 1U);
	}
	assert_true(refused >= 2 * (64 + text + 4 * 32));
	for (size_t at = table + 4 * 32; at < table + METADATA_PIECES_MAX * 32; at += 997)
		assert_true(survives(rig, whole, bytes, at, 0xff));
	assert_unchanged(rig, whole, bytes);
	free(whole);
}

static void a_file_needs_a_persistent_back_end(void **state)
{
	struct rig *rig = *state;

	rig->ops.capabilities = 0;
	REFUSED(begin_create(rig), ENOTSUP, "PERSISTENT");
	assert_false(exists(rig));
	REFUSED(begin_recover(rig), ENOTSUP, "PERSISTENT");
	rig->ops.capabilities = ALLOCATOR_PERSISTENT;
	rig->place.metadata_file = NULL;
	REFUSED(begin_recover(rig), EINVAL, "no file");
	assert_int_equal(
		allocator_instance_recover(&rig->spec, rig->m, NULL, &rig->instance, &rig->err),
		-EINVAL);
}

/* ---- space ---- */

/* A file system of @bytes in place of the directory, seen by this process only; or skip. */
static void mount_small(struct rig *rig, const char *bytes)
{
	char options[64];

	snprintf(options, sizeof(options), "size=%s", bytes);
	if (geteuid() != 0 || unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("quire", rig->dir, "tmpfs", 0, options)) {
		print_message("# a small file system takes root to mount\n");
		skip();
	}
}

static int teardown_mount(void **state)
{
	struct rig *rig = *state;

	stop(rig);
	umount2(rig->dir, MNT_DETACH);
	return teardown(state);
}

static void a_full_disk_is_an_error_at_create_and_leaves_no_file(void **state)
{
	struct rig *rig = *state;

	mount_small(rig, "64k"); /* less than the head */
	REFUSED(begin_create(rig), ENOSPC, "No space left");
	assert_false(exists(rig));
	umount(rig->dir);
	mount_small(rig, "256k");
	fault.extra_bytes = 1 << 20;
	REFUSED(begin_create(rig), ENOSPC, rig->path);
	assert_false(exists(rig));
	no_faults();
	create(rig);
}

static void a_full_disk_refuses_a_piece_and_harms_no_other(void **state)
{
	static const unsigned char block[4096] = {1};
	struct rig *rig = *state;
	const struct alloc_env *env;
	unsigned char *untouched;
	char filler[320];
	off_t before;
	int fd;

	mount_small(rig, "1m");
	create(rig);
	env = rig->instance->a->env;
	assert_int_equal(grow(rig, 1000, 5), 0);
	before = file_bytes(rig);
	assert_int_equal(grow(rig, 2 << 20, 5), -ENOMEM);
	assert_int_equal(metadata_error(rig->instance->metadata)->code, ENOSPC);
	assert_int_equal(file_bytes(rig), before);
	assert_int_equal(grow(rig, 2000, 5), 0);
	untouched = env->meta(env, 300000, 64, META_PERSISTENT);
	assert_non_null(untouched);
	/* With the disk full to the brim, what was given can still be written. */
	snprintf(filler, sizeof(filler), "%s/filler", rig->dir);
	fd = open(filler, O_WRONLY | O_CREAT, 0600);
	while (write(fd, block, sizeof(block)) == (ssize_t)sizeof(block))
		;
	assert_int_equal(errno, ENOSPC);
	close(fd);
	fill(untouched, 9, 300000);
	assert_int_equal(grow(rig, 1, 0), -ENOMEM);
	stop(rig);
	unlink(filler);
	recover(rig);
	assert_contents(rig, 2);
}

static void a_limit_on_file_size_is_an_error_and_no_signal(void **state)
{
	struct rig *rig = *state;
	struct rlimit was, low;
	int early, late;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
	low = was;
	low.rlim_cur = 100000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	early = begin_create(rig);
	setrlimit(RLIMIT_FSIZE, &was);
	REFUSED(early, EFBIG, "ulimit -f");
	assert_false(exists(rig));

	create(rig);
	low.rlim_cur = (rlim_t)file_bytes(rig) + 5000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	early = grow(rig, 3000, 3);
	late = grow(rig, 3000, 3);
	setrlimit(RLIMIT_FSIZE, &was);
	assert_int_equal(early, 0);
	assert_int_equal(late, -ENOMEM);
	assert_int_equal(metadata_error(rig->instance->metadata)->code, EFBIG);
	/* What is there may be above a limit that came later. */
	stop(rig);
	low.rlim_cur = 5000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	early = begin_recover(rig);
	setrlimit(RLIMIT_FSIZE, &was);
	assert_int_equal(early, 0);
	assert_contents(rig, 1);
}

/* ---- death ---- */

static void die_creating(struct rig *rig)
{
	fault.die_in_create = true;
	begin_create(rig);
}

static void a_kill_in_create_leaves_a_file_that_says_so(void **state)
{
	struct rig *rig = *state;

	in_dying_child(rig, die_creating);
	assert_true(exists(rig));
	REFUSED(begin_recover(rig), EUCLEAN, "never finished");
	REFUSED(begin_create(rig), EEXIST, "remove it");
	unlink(rig->path);
	create(rig);
}

static void die_growing(struct rig *rig)
{
	if (begin_recover(rig))
		return;
	fault.die_in_online = true;
	grow(rig, 123, 3);
}

static void a_kill_before_a_piece_is_noted_costs_only_the_piece(void **state)
{
	struct rig *rig = *state;
	off_t before;

	leave_file(rig);
	before = file_bytes(rig);
	in_dying_child(rig, die_growing);
	assert_true(file_bytes(rig) > before);
	recover(rig);
	assert_contents(rig, 2);
	assert_int_equal(grow(rig, 70000, 13), 0); /* finds zeros */
	stop(rig);
	recover(rig);
	assert_contents(rig, 3);
}

static void die_recovering(struct rig *rig)
{
	fault.die_in_recover = true;
	begin_recover(rig);
}

static void a_kill_in_recover_leaves_what_was_there(void **state)
{
	struct rig *rig = *state;

	leave_file(rig);
	for (unsigned int i = 0; i < 3; i++)
		in_dying_child(rig, die_recovering);
	recover(rig);
	assert_contents(rig, 2);
	assert_int_equal(grow(rig, 4321, 0), 0); /* finds zeros */
	assert_contents(rig, 3);
}

/* What a child tells before it dies. */
struct progress {
	_Atomic uint32_t running, created, grown, wrong;
};

static void live(struct rig *rig, struct progress *progress, unsigned int seed)
{
	bool fresh = !exists(rig);

	progress->running = 1;
	if (fresh ? begin_create(rig) : begin_recover(rig))
		progress->wrong = 1;
	progress->created = 1;
	while (!progress->wrong && rig->instance->a->root->nr_grown < GROWN_MAX) {
		if (grow(rig, (size_t)(1 + rand_r(&seed) % 9000), (unsigned int)rand_r(&seed) % 14))
			progress->wrong = 1;
		progress->grown = rig->instance->a->root->nr_grown;
	}
	if (!progress->wrong)
		pause();
}

static void kill_at_random(struct rig *rig, struct progress *progress, unsigned int *seed)
{
	struct timespec moment = {.tv_nsec = rand_r(seed) % 1200 * 1000};
	unsigned int own_seed = (unsigned int)rand_r(seed);
	pid_t pid;
	int status;

	progress->running = 0;
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		live(rig, progress, own_seed);
		_exit(1);
	}
	while (!progress->running)
		sched_yield();
	nanosleep(&moment, NULL);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(progress->wrong, 0);
}

static void kills_at_any_moment_lose_nothing(void **state)
{
	enum { KILLS = 300 };
	struct rig *rig = *state;
	struct progress *progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
					 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	unsigned int seed = 2024, recovered = 0;

	print_message("# seed %u\n", seed);
	for (unsigned int i = 0; i < KILLS; i++) {
		int rc;

		kill_at_random(rig, progress, &seed);
		rc = begin_recover(rig);
		if (rc == 0) {
			uint32_t grown = rig->instance->a->root->nr_grown;

			assert_in_range(grown, progress->grown, progress->grown + 1U);
			assert_contents(rig, grown);
			progress->grown = grown;
			recovered++;
			stop(rig);
			if (grown < GROWN_MAX)
				continue;
		} else {
			/* Only one that never was may be missing or refused. */
			assert_int_equal(progress->created, 0);
			assert_true(rc == -ENOENT || rc == -EUCLEAN);
		}
		unlink(rig->path);
		progress->created = progress->grown = 0;
	}
	assert_true(recovered > 0);
	munmap(progress, sizeof(*progress));
}

#define TEST(name)	 cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_MOUNT(name) cmocka_unit_test_setup_teardown(name, setup, teardown_mount)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pieces_are_found_again_in_order_and_grow_further),
		TEST(volatile_pieces_take_no_room_in_the_file),
		TEST(pieces_keep_their_place_while_others_come),
		TEST(impossible_pieces_are_null_and_change_nothing),
		TEST(there_is_room_for_as_many_pieces_as_stated),
		TEST(what_recover_leaves_is_gone_and_its_room_zeroed),
		TEST(a_file_says_whether_its_stores_are_durable),
		TEST(holes_of_a_copied_file_are_filled_on_recovery),
		TEST(an_existing_file_is_never_overwritten),
		TEST(a_failed_create_leaves_no_file),
		TEST(a_failed_recover_can_be_tried_again),
		TEST(a_live_file_has_one_owner),
		TEST(a_back_end_must_ask_for_what_it_had),
		TEST(other_options_and_back_ends_are_refused),
		TEST(another_machine_is_refused_whatever_differs),
		TEST(foreign_files_are_refused_and_left_alone),
		TEST(a_file_cut_short_anywhere_is_refused),
		TEST(each_damaged_byte_of_the_head_is_refused_or_harmless),
		TEST(a_file_needs_a_persistent_back_end),
		TEST_MOUNT(a_full_disk_is_an_error_at_create_and_leaves_no_file),
		TEST_MOUNT(a_full_disk_refuses_a_piece_and_harms_no_other),
		TEST(a_limit_on_file_size_is_an_error_and_no_signal),
		TEST(a_kill_in_create_leaves_a_file_that_says_so),
		TEST(a_kill_before_a_piece_is_noted_costs_only_the_piece),
		TEST(a_kill_in_recover_leaves_what_was_there),
		TEST(kills_at_any_moment_lose_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
