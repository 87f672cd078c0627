/* SPDX-License-Identifier: MIT */
/*
 * The gfp bits of the running kernel, by name. They move from release to release; a tracepoint's
 * `format` file lists them as {VALUE, "NAME"} pairs, VALUE being a C expression.
 */
#include "traces/record/record_tracefs.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "sim/gfp.h"

/*
 * The value of an expression made of casts, parentheses and either one number or NUMBER << NUMBER,
 * which is how a single flag is written. 0 for anything else.
 */
static uint64_t single_flag(const char *s, const char *end)
{
	uint64_t number[2];
	unsigned int numbers = 0, shifts = 0;

	while (s < end) {
		if (isalpha((unsigned char)*s) || *s == '_') {
			while (s < end && (isalnum((unsigned char)*s) || *s == '_'))
				s++;
		} else if (isdigit((unsigned char)*s)) {
			char *stop;

			if (numbers == 2)
				return 0;
			number[numbers++] = strtoull(s, &stop, 0);
			s = stop;
			while (s < end && isalpha((unsigned char)*s)) /* UL */
				s++;
		} else if (s[0] == '<' && s[1] == '<') {
			shifts++;
			s += 2;
		} else if (strchr("() \t", *s)) {
			s++;
		} else {
			return 0;
		}
	}
	if (numbers == 1 && shifts == 0)
		return number[0];
	if (numbers == 2 && shifts == 1 && number[1] < 64)
		return number[0] << number[1];
	return 0;
}

unsigned int tracer_gfp_bits(const char *format, uint32_t bits[64])
{
	unsigned int understood = 0;
	const char *s = format;

	memset(bits, 0, 64 * sizeof(bits[0]));
	while ((s = strchr(s, '{'))) {
		const char *quote = strchr(s, '"'), *comma = quote, *close;
		uint64_t value;
		uint32_t flag;

		close = quote ? strchr(quote + 1, '"') : NULL;
		if (!close)
			break;
		while (comma > s && *comma != ',')
			comma--;
		value = single_flag(s + 1, comma);
		flag = gfp_bit(quote + 1, (size_t)(close - quote - 1));
		/* Short names such as GFP_DMA repeat __GFP_DMA with the same value. */
		if (flag && is_power_of_two(value)) {
			understood += bits[log2_floor(value)] == 0;
			bits[log2_floor(value)] = flag;
		}
		s = close + 1;
	}
	for (unsigned int i = 0; understood == 0 && i < 32; i++)
		bits[i] = UINT32_C(1) << i;
	return understood;
}
