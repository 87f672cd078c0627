/* SPDX-License-Identifier: MIT */
/*
 * Errors travel as return values: 0 or a count on success, a negative errno on failure, and beside
 * it one line for people. Libraries never print, exit or abort; only cli/ turns an error into a line
 * on stderr and an exit code.
 *
 * The line names the file, the place in it and a remedy: "t.quire: block 17 at byte 81920: checksum
 * mismatch; record it again, or salvage what is intact".
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#define ERROR_TEXT_MAX 512

struct error {
	int code;		   /* positive errno; 0: no error */
	char text[ERROR_TEXT_MAX]; /* one line, no trailing newline; too long is cut, with "..." */
};

/**
 * error_set - record a failure
 * @err: where to; NULL is allowed, then only the return value speaks
 * @code: positive errno
 * @fmt: printf format of the line
 *
 * The arguments may include @err->text itself, so that a caller can wrap a message.
 * Control characters in the result become '?', so that a hostile file name stays one line.
 * Return: -@code.
 */
int error_set(struct error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * error_prefix - put "WHAT: " before the recorded line, keeping its code
 * Return: -@err->code.
 */
int error_prefix(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#ifdef __cplusplus
}
#endif
#endif
