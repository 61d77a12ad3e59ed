// SPDX-License-Identifier: BSD-3-Clause
/* See endpoint_options.h. The description is copied once and cut up in place. */
#include "endpoint/endpoint_options.h"

#include "base/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int endpoint_fail(char **err_text, int err, const char *fmt, ...)
{
	char text[512];
	size_t size;
	va_list ap;

	if (!err_text)
		return err;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	size = strlen(text) + 1;
	*err_text = alloc_array(size, 1);
	if (*err_text)
		memcpy(*err_text, text, size);
	return err;
}

/* Cut the text at its first single comma; a doubled one becomes one. Returns the rest or NULL. */
static char *cut_piece(char *text)
{
	char *to = text;

	for (char *from = text; *from; from++) {
		if (*from == ',') {
			if (from[1] != ',') {
				*to = '\0';
				return from + 1;
			}
			from++;
		}
		*to++ = *from;
	}
	*to = '\0';
	return NULL;
}

static int add_option(struct endpoint_options *opts, char *piece, char **err_text)
{
	char *equals = strchr(piece, '=');

	if (!equals || equals == piece)
		return endpoint_fail(err_text, -EINVAL,
				     "\"%s\" in the device description is not of the form "
				     "key=value.",
				     piece);
	*equals = '\0';
	for (size_t i = 0; i < opts->count; i++)
		if (!strcmp(opts->list[i].key, piece))
			return endpoint_fail(err_text, -EINVAL,
					     "The device option \"%s\" is given twice.", piece);
	if (opts->count == ENDPOINT_OPTIONS_MAX)
		return endpoint_fail(err_text, -EINVAL,
				     "The device description has more than %d options.",
				     ENDPOINT_OPTIONS_MAX);
	opts->list[opts->count++] = (struct endpoint_option){ .key = piece, .value = equals + 1 };
	return 0;
}

int endpoint_options_parse(const char *description, struct endpoint_options *opts, char **err_text)
{
	size_t size = strlen(description) + 1;
	char *piece, *rest;
	int err = 0;

	*opts = (struct endpoint_options){ .text = alloc_array(size, 1) };
	if (!opts->text)
		return -ENOMEM;
	memcpy(opts->text, description, size);
	opts->model = opts->text;
	rest = cut_piece(opts->text);
	while (rest && !err) {
		piece = rest;
		rest = cut_piece(piece);
		err = add_option(opts, piece, err_text);
	}
	if (err)
		endpoint_options_fini(opts);
	return err;
}

void endpoint_options_fini(struct endpoint_options *opts)
{
	free(opts->text);
	*opts = (struct endpoint_options){ 0 };
}

const char *endpoint_options_string(struct endpoint_options *opts, const char *key)
{
	for (size_t i = 0; i < opts->count; i++) {
		if (!strcmp(opts->list[i].key, key)) {
			opts->list[i].known = true;
			return opts->list[i].value;
		}
	}
	return NULL;
}

int endpoint_options_bool(struct endpoint_options *opts, const char *key, bool *out,
			  char **err_text)
{
	const char *value = endpoint_options_string(opts, key);

	if (!value)
		return 0;
	if (strcmp(value, "on") && strcmp(value, "off"))
		return endpoint_fail(err_text, -EINVAL,
				     "The device option %s is \"%s\", it must be \"on\" or "
				     "\"off\".",
				     key, value);
	*out = !strcmp(value, "on");
	return 0;
}

int endpoint_options_number(struct endpoint_options *opts, const char *key, unsigned long min,
			    unsigned long max, unsigned long *out, char **err_text)
{
	const char *value = endpoint_options_string(opts, key);
	unsigned long number = 0;
	const char *p;

	if (!value)
		return 0;
	/* Digits only, so that neither a sign nor a space slips through; 9 cannot overflow. */
	for (p = value; *p >= '0' && *p <= '9' && p - value < 9; p++)
		number = number * 10 + (unsigned long)(*p - '0');
	if (p == value || *p || number < min || number > max)
		return endpoint_fail(err_text, -EINVAL,
				     "The device option %s is \"%s\", it must be a number from "
				     "%lu to %lu.",
				     key, value, min, max);
	*out = number;
	return 0;
}

int endpoint_options_finish(const struct endpoint_options *opts, const char *known, char **err_text)
{
	for (size_t i = 0; i < opts->count; i++)
		if (!opts->list[i].known)
			return endpoint_fail(err_text, -EINVAL,
					     "The device %s has no option \"%s\"; it has %s.",
					     opts->model, opts->list[i].key, known);
	return 0;
}
