/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Recordings of what a program was told by Linux 7.2, to be said again by the software
 * host, line by line. A line is a label and a result, or what came out beside one:
 *
 *	map overlap                                                      -EEXIST
 *	   n=1 align=2048 [0x1000000,0x7fffffff]
 *
 * The recording has no arguments. The replay makes the calls that belong to each label, and
 * says label and result as the recorder did; both have to be the next line of the file. So
 * no result is written down twice, and a line can be left out only by name.
 *
 * What the recording kernel logged in between is no line, nor are its markers (###) and times.
 */
#ifndef TESTS_GOLDEN_GOLDEN_H
#define TESTS_GOLDEN_GOLDEN_H

void golden_open(const char *file);
/* Go to the part that begins with "== @name", from wherever a failure left us. */
void golden_section(const char *name);
/* The next line is this. */
void golden_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The next line is this label with this result: "ok(0)", or a negative errno by name. */
void golden_result(const char *label, long ret);
/* The next line has this label and is not replayed; @why is for the reader. */
void golden_skip(const char *label, const char *why);
/* Nothing is left. Says how many lines there were. */
void golden_close(void);

#endif
