/* SPDX-License-Identifier: MIT */
#include "replay/marks.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/bits.h"

int marks_create(struct marks *m, uint64_t n, struct error *err)
{
	void *p;

	m->n = 0;
	m->words = div_round_up(n, 64);
	p = mmap(NULL, m->words * sizeof(*m->bit), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	m->bit = p == MAP_FAILED ? NULL : p;
	return m->bit ? 0
		      : error_set(err, ENOMEM, "no memory to mark %llu objects",
				  (unsigned long long)n);
}

void marks_destroy(struct marks *m)
{
	if (m->bit)
		munmap(m->bit, m->words * sizeof(*m->bit));
	*m = (struct marks){0};
}
