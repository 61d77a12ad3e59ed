/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's qtest protocol: lines of text in, one answer each, "OK ..." or "FAIL ...".
 *
 *	readb|w|l|q ADDR		read ADDR SIZE		b64read ADDR SIZE
 *	writeb|w|l|q ADDR VALUE		write ADDR SIZE 0xDATA	b64write ADDR SIZE DATA
 *	inb|w|l PORT			outb|w|l PORT VALUE	memset ADDR SIZE VALUE
 *	clock_step [NS]			clock_set NS		endianness
 *	irq_intercept_in|out PATH	nestor_save
 *
 * Numbers are as in C. Time stands still but for clock_step and clock_set, and nothing
 * depends on it. There are no interrupt lines, so intercepting those of the one
 * controller that scripts ask for, "ioapic", is answered and never reports any; messages
 * are in the machine's log (machine.h).
 *
 * nestor_save is Nestor's own: the machine into the file that session_save_to() named.
 *
 * Source: QEMU 11.1 docs/devel/testing/qtest.rst, and what it answers.
 */
#ifndef FRONTEND_QTEST_SESSION_H
#define FRONTEND_QTEST_SESSION_H

#include "frontend/qtest/machine.h"

enum {
	QTEST_MAX_DATA = 1 << 20,		    /* bytes of one read or write */
	QTEST_MAX_LINE = 2 * QTEST_MAX_DATA + 1024, /* a longer one is answered FAIL */
};

struct qtest_session;

/* -ENOMEM. @machine stays the caller's. */
NST_MUST_CHECK int session_create(struct qtest_machine *machine, struct qtest_session **out);
void session_destroy(struct qtest_session *s);

/* Where nestor_save writes; without it the command fails. @path must stay. */
void session_save_to(struct qtest_session *s, const char *path);

/* Bytes from the script. Lines that they complete are carried out. -ENOMEM ends the session. */
NST_MUST_CHECK int session_input(struct qtest_session *s, const char *data, size_t size);

/* Answers that wait to be sent; the second call says that all were. */
const char *session_output(const struct qtest_session *s, size_t *size);
void session_output_sent(struct qtest_session *s);

#endif
