/* SPDX-License-Identifier: MIT */
#include "tests/allocators/llfree/explorer/fiber.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if !defined(__SANITIZE_ADDRESS__) && defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define STACK_BYTES (256U << 10)
#else
#define STACK_BYTES (64U << 10)
#endif

#if defined(__x86_64__) || defined(__aarch64__)
#define FIBER_OWN_SWITCH
#else
#include <ucontext.h>
#endif

struct fiber {
	unsigned char *stack; /* STACK_BYTES; a guard page lies before it */
	void (*body)(void *);
	void *arg;
#ifdef FIBER_OWN_SWITCH
	void *sp, *host_sp; /* of the side that is not running */
#else
	ucontext_t context, host;
#endif
#ifdef __SANITIZE_ADDRESS__
	bool started, dying; /* has run since fiber_start(); is to leave for good */
	void *fake, *host_fake;
	const void *host_stack;
	size_t host_bytes;
#endif
};

#ifdef FIBER_OWN_SWITCH
/*
 * fiber_swap - push what the ABI has a callee preserve, save the stack pointer to *@save, continue
 * on the stack that @load was saved from
 */
void fiber_swap(void **save, void *load) __attribute__((visibility("hidden")));

#ifdef __x86_64__
#define SAVED_WORDS 6
__asm__(".text\n"
	".globl fiber_swap\n"
	".hidden fiber_swap\n"
	".type fiber_swap, @function\n"
	"fiber_swap:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size fiber_swap, . - fiber_swap\n");
#else
#define SAVED_WORDS 20
__asm__(".text\n"
	".globl fiber_swap\n"
	".hidden fiber_swap\n"
	".type fiber_swap, %function\n"
	"fiber_swap:\n"
	"	sub sp, sp, #160\n"
	"	stp x29, x30, [sp, #0]\n"
	"	stp x19, x20, [sp, #16]\n"
	"	stp x21, x22, [sp, #32]\n"
	"	stp x23, x24, [sp, #48]\n"
	"	stp x25, x26, [sp, #64]\n"
	"	stp x27, x28, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x29, x30, [sp, #0]\n"
	"	ldp x19, x20, [sp, #16]\n"
	"	ldp x21, x22, [sp, #32]\n"
	"	ldp x23, x24, [sp, #48]\n"
	"	ldp x25, x26, [sp, #64]\n"
	"	ldp x27, x28, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size fiber_swap, . - fiber_swap\n");
#endif
#endif

/* The coroutine being started: the entry gets no argument on all ABIs alike. */
static struct fiber *entering;

static void fiber_main(void)
{
	struct fiber *f = entering;

#ifdef __SANITIZE_ADDRESS__
	__sanitizer_finish_switch_fiber(NULL, &f->host_stack, &f->host_bytes);
#endif
	f->body(f->arg);
	abort(); /* the body must not return */
}

struct fiber *fiber_create(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct fiber *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	void *map = mmap(NULL, page + STACK_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED) {
		free(f);
		return NULL;
	}
	f->stack = (unsigned char *)map + page;
	if (mprotect(f->stack, STACK_BYTES, PROT_READ | PROT_WRITE) < 0) {
		munmap(map, page + STACK_BYTES);
		free(f);
		return NULL;
	}
	return f;
}

static void forget(struct fiber *f)
{
#ifdef __SANITIZE_ADDRESS__
	/* Let a half-way coroutine give its fake stack back; its frames never return. */
	if (f->started) {
		f->dying = true;
		fiber_enter(f);
		f->dying = false;
	}
	f->started = false;
	f->fake = NULL;
	__asan_unpoison_memory_region(f->stack, STACK_BYTES);
#else
	(void)f;
#endif
}

void fiber_destroy(struct fiber *f)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!f)
		return;
	forget(f);
	munmap(f->stack - page, page + STACK_BYTES);
	free(f);
}

void fiber_start(struct fiber *f, void (*body)(void *), void *arg)
{
	forget(f);
	f->body = body;
	f->arg = arg;
#ifdef FIBER_OWN_SWITCH
	uintptr_t *top = (uintptr_t *)(void *)(f->stack + STACK_BYTES);

#ifdef __x86_64__
	/* A return address for fiber_main() to ignore, then its own address, then registers. */
	*--top = 0;
	*--top = (uintptr_t)fiber_main;
	top -= SAVED_WORDS;
	memset(top, 0, SAVED_WORDS * sizeof(*top));
#else
	top -= SAVED_WORDS;
	memset(top, 0, SAVED_WORDS * sizeof(*top));
	top[1] = (uintptr_t)fiber_main; /* x30 */
#endif
	f->sp = top;
#else
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = f->stack;
	f->context.uc_stack.ss_size = STACK_BYTES;
	f->context.uc_link = NULL;
	makecontext(&f->context, fiber_main, 0);
#endif
}

void fiber_enter(struct fiber *f)
{
	entering = f;
#ifdef __SANITIZE_ADDRESS__
	f->started = true;
	__sanitizer_start_switch_fiber(&f->host_fake, f->stack, STACK_BYTES);
#endif
#ifdef FIBER_OWN_SWITCH
	fiber_swap(&f->host_sp, f->sp);
#else
	swapcontext(&f->host, &f->context);
#endif
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_finish_switch_fiber(f->host_fake, NULL, NULL);
#endif
}

static void switch_to_host(struct fiber *f)
{
#ifdef FIBER_OWN_SWITCH
	fiber_swap(&f->sp, f->host_sp);
#else
	swapcontext(&f->context, &f->host);
#endif
}

void fiber_leave(struct fiber *f)
{
#ifdef __SANITIZE_ADDRESS__
	__sanitizer_start_switch_fiber(&f->fake, f->host_stack, f->host_bytes);
	switch_to_host(f);
	__sanitizer_finish_switch_fiber(f->fake, &f->host_stack, &f->host_bytes);
	if (!f->dying)
		return;
	__sanitizer_start_switch_fiber(NULL, f->host_stack, f->host_bytes);
#endif
	switch_to_host(f);
}
