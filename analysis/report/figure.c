/* SPDX-License-Identifier: MIT */
/*
 * A figure on the page: the drawing, what it shows for who cannot see it, a caption, and its files.
 */
#include "analysis/report/page.h"

#include <string.h>

#include "base/bits.h"

/* The drawing travels inside the page, so that the page can be mailed as one file. */
static void put_base64(FILE *out, const char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *s = (const unsigned char *)text;
	size_t left = strlen(text);

	for (; left; s += 3) {
		const unsigned int v = (unsigned int)s[0] << 16 |
				       (left > 1 ? (unsigned int)s[1] << 8 : 0) |
				       (left > 2 ? (unsigned int)s[2] : 0);

		fputc(digits[v >> 18], out);
		fputc(digits[v >> 12 & 63], out);
		fputc(left > 1 ? digits[v >> 6 & 63] : '=', out);
		fputc(left > 2 ? digits[v & 63] : '=', out);
		left -= min_u64(left, 3);
	}
}

void page_begin_figure(FILE *out, unsigned int height)
{
	fprintf(out,
		"<figure><div class=\"scroll\" tabindex=\"0\" role=\"region\" "
		"aria-label=\"figure\"><img width=\"%u\" height=\"%u\" alt=\"",
		PLOT_WIDTH, height);
}

void page_end_figure(FILE *out, const char *svg, const char *caption, const char *more,
		     const char *name)
{
	fputs("\" src=\"data:image/svg+xml;base64,", out);
	put_base64(out, svg);
	fprintf(out,
		"\"></div>\n<figcaption>%s%s Redraw it: <a href=\"plots/%s.svg\">SVG</a>, "
		"<a href=\"plots/%s.gp\">gnuplot script</a>, <a href=\"plots/%s.dat\">data</a>."
		"</figcaption></figure>\n",
		caption, more, name, name, name);
}
