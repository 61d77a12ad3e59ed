/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The "key=value" part of an endpoint's description, for a model's constructor.
 *
 * A model asks for each key it knows; endpoint_options_finish() then complains
 * about any it did not ask for. A comma inside a value is written twice. Every
 * failure leaves one sentence for the user in *err_text.
 */
#ifndef ENDPOINT_ENDPOINT_OPTIONS_H
#define ENDPOINT_ENDPOINT_OPTIONS_H

#include "endpoint/endpoint.h"

#define ENDPOINT_OPTIONS_MAX 16

struct endpoint_option {
	const char *key, *value;
	bool known; /* the model asked for it */
};

struct endpoint_options {
	char *text; /* owns model, keys and values */
	const char *model;
	size_t count;
	struct endpoint_option list[ENDPOINT_OPTIONS_MAX];
};

/* Returns @err, so that a caller can say why and give up in one statement. */
int endpoint_fail(char **err_text, int err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Errors: -EINVAL (a piece without "=", a key given twice, too many), -ENOMEM. */
NST_MUST_CHECK int endpoint_options_parse(const char *description, struct endpoint_options *opts,
					  char **err_text);
void endpoint_options_fini(struct endpoint_options *opts);

/* The value of @key, or NULL if it was not given. */
const char *endpoint_options_string(struct endpoint_options *opts, const char *key);

/* on|off and numbers; *@out is written only if the key was given. Errors: -EINVAL. */
NST_MUST_CHECK int endpoint_options_bool(struct endpoint_options *opts, const char *key, bool *out,
					 char **err_text);
NST_MUST_CHECK int endpoint_options_number(struct endpoint_options *opts, const char *key,
					   unsigned long min, unsigned long max, unsigned long *out,
					   char **err_text);

/* -EINVAL if a key was given that nobody asked for; @known names those there are. */
NST_MUST_CHECK int endpoint_options_finish(const struct endpoint_options *opts, const char *known,
					   char **err_text);

#endif
