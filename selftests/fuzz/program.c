// SPDX-License-Identifier: GPL-2.0-only
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

/* References */

static void each_value(struct call *c, void (*fn)(const struct field *field, struct value *v,
						  const unsigned int *arg),
		       const unsigned int *arg)
{
	const struct call_type *type = type_of(c);

	for (unsigned int i = 0; i < nr_fields(type->fields); i++)
		fn(&type->fields[i], &c->args.of[i], arg);
	for (unsigned int e = 0; e < c->nr_elements; e++)
		for (unsigned int i = 0; i < nr_fields(type->elements); i++)
			fn(&type->elements[i], &c->elements[e].of[i], arg);
}

static void moved_up(const struct field *field, struct value *v, const unsigned int *at)
{
	(void)field;
	if (v->kind == VALUE_RESULT && v->call >= *at)
		v->call++;
}

/* @gone: the first that is gone, and how many */
static void moved_down(const struct field *field, struct value *v, const unsigned int *gone)
{
	if (v->kind != VALUE_RESULT || v->call < gone[0])
		return;
	if (v->call >= gone[0] + gone[1]) {
		v->call -= gone[1];
		return;
	}
	v->kind = VALUE_NUMBER;
	v->number = field->size == 0 ? -1 : 0;
}

bool program_insert(struct program *p, unsigned int at)
{
	if (p->nr_calls == MAX_CALLS)
		return false;
	memmove(&p->calls[at + 1], &p->calls[at], (p->nr_calls - at) * sizeof(p->calls[0]));
	p->nr_calls++;
	memset(&p->calls[at], 0, sizeof(p->calls[at]));
	for (unsigned int i = at + 1; i < p->nr_calls; i++)
		each_value(&p->calls[i], moved_up, &at);
	return true;
}

void program_remove(struct program *p, unsigned int from, unsigned int n)
{
	unsigned int gone[2] = { from, n };

	memmove(&p->calls[from], &p->calls[from + n],
		(p->nr_calls - from - n) * sizeof(p->calls[0]));
	p->nr_calls -= n;
	for (unsigned int i = from; i < p->nr_calls; i++)
		each_value(&p->calls[i], moved_down, gone);
}

/* Printing */

struct names {
	bool used[MAX_CALLS];
	int number[MAX_CALLS];
};

static void print_symbols(FILE *to, const struct field *field, __u64 number)
{
	const struct symbol *s;
	const char *bar = "";

	if (field->kind == FIELD_ENUM) {
		for (s = field->symbols; s->name; s++)
			if (s->value == number) {
				fputs(s->name, to);
				return;
			}
	} else {
		for (s = field->symbols; s->name; s++)
			if (s->value && (number & s->value) == s->value) {
				fprintf(to, "%s%s", bar, s->name);
				number &= ~s->value;
				bar = "|";
			}
	}
	if (number || !*bar)
		fprintf(to, number < 10 ? "%s%llu" : "%s0x%llx", bar, number);
}

static void print_value(FILE *to, const struct field *field, const struct value *v)
{
	switch (v->kind) {
	case VALUE_NOW:
		fprintf(to, "now%+lld", (long long)v->number);
		break;
	case VALUE_RESULT:
		fprintf(to, "r%u", v->call);
		if (v->number)
			fprintf(to, ".%llu", v->number);
		break;
	default:
		if (field->symbols)
			print_symbols(to, field, v->number);
		else if ((long long)v->number < 0 && (long long)v->number > -4096)
			fprintf(to, "%lld", (long long)v->number);
		else
			fprintf(to, v->number < 1 << 20 ? "%llu" : "0x%llx", v->number);
	}
}

static const char *print_values(FILE *to, const struct field *fields, const struct values *values,
				const char *comma)
{
	for (unsigned int i = 0; i < nr_fields(fields); i++) {
		if (!(values->given & 1U << i))
			continue;
		fprintf(to, "%s%s=", comma, fields[i].name);
		print_value(to, &fields[i], &values->of[i]);
		comma = ", ";
	}
	return comma;
}

static bool uses(const struct field *fields, const struct values *values, unsigned int call)
{
	for (unsigned int i = 0; i < nr_fields(fields); i++)
		if (values->given & 1U << i && values->of[i].kind == VALUE_RESULT &&
		    values->of[i].call == call)
			return true;
	return false;
}

static bool is_used(const struct program *p, unsigned int call)
{
	for (unsigned int i = call + 1; i < p->nr_calls; i++) {
		const struct call *c = &p->calls[i];

		if (uses(type_of(c)->fields, &c->args, call))
			return true;
		for (unsigned int e = 0; e < c->nr_elements; e++)
			if (uses(type_of(c)->elements, &c->elements[e], call))
				return true;
	}
	return false;
}

char *program_print(const struct program *p)
{
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	for (unsigned int i = 0; i < p->nr_calls; i++) {
		const struct call *c = &p->calls[i];
		const char *comma;

		if (is_used(p, i))
			fprintf(to, "r%u = ", i);
		fprintf(to, "%s(", type_of(c)->name);
		comma = print_values(to, type_of(c)->fields, &c->args, "");
		for (unsigned int e = 0; e < c->nr_elements; e++) {
			fprintf(to, "%s{", comma);
			print_values(to, type_of(c)->elements, &c->elements[e], "");
			fputs("}", to);
			comma = ", ";
		}
		fprintf(to, ")%s\n", c->async ? " async" : "");
	}
	fclose(to);
	return text;
}

/* Parsing */

struct parser {
	struct program *p;
	const char *at;
	/* which call a name stands for */
	int call[MAX_CALLS * 4];
	const char *why;
};

static void skip_blanks(struct parser *in)
{
	while (*in->at == ' ' || *in->at == '\t')
		in->at++;
}

static bool skip(struct parser *in, char c)
{
	skip_blanks(in);
	if (*in->at != c)
		return false;
	in->at++;
	return true;
}

static bool word(struct parser *in, char *to, size_t size)
{
	size_t n = 0;

	skip_blanks(in);
	while ((isalnum((unsigned char)*in->at) || *in->at == '_') && n < size - 1)
		to[n++] = *in->at++;
	to[n] = '\0';
	return n;
}

static bool parse_result(struct parser *in, struct value *v)
{
	char *end;
	unsigned long name = strtoul(in->at + 1, &end, 10);

	in->at = end;
	if (name >= ARRAY_SIZE_OF(in->call) || in->call[name] < 0) {
		in->why = "no earlier call has this name";
		return false;
	}
	v->kind = VALUE_RESULT;
	v->call = in->call[name];
	v->number = 0;
	if (*in->at == '.') {
		v->number = strtoul(in->at + 1, &end, 10);
		in->at = end;
	}
	if (v->number >= MAX_OUTS)
		in->why = "a call has no so many results";
	return v->number < MAX_OUTS;
}

static bool parse_number(struct parser *in, const struct field *field, __u64 *number)
{
	const struct symbol *s;
	char name[32], *end;

	*number = 0;
	do {
		skip_blanks(in);
		if (isdigit((unsigned char)*in->at) || *in->at == '-') {
			*number |= strtoull(in->at, &end, 0);
			in->at = end;
			continue;
		}
		word(in, name, sizeof(name));
		for (s = field->symbols; s && s->name && strcmp(s->name, name); s++)
			;
		if (!s || !s->name) {
			in->why = "not a value of this argument";
			return false;
		}
		*number |= s->value;
	} while (skip(in, '|'));
	return true;
}

static bool parse_value(struct parser *in, const struct field *field, struct value *v)
{
	char *end;

	skip_blanks(in);
	if (in->at[0] == 'r' && isdigit((unsigned char)in->at[1]))
		return parse_result(in, v);
	if (!strncmp(in->at, "now", 3)) {
		v->kind = VALUE_NOW;
		v->number = strtoll(in->at + 3, &end, 0);
		in->at = end;
		return true;
	}
	v->kind = VALUE_NUMBER;
	return parse_number(in, field, &v->number);
}

static bool parse_setting(struct parser *in, const struct field *fields, struct values *values)
{
	char name[32];
	int field;

	word(in, name, sizeof(name));
	field = field_find(fields, name);
	if (field < 0 || !skip(in, '=')) {
		in->why = "no such argument";
		return false;
	}
	values->given |= 1U << field;
	return parse_value(in, &fields[field], &values->of[field]);
}

static bool parse_element(struct parser *in, struct call *c)
{
	if (c->nr_elements == MAX_ELEMENTS || !type_of(c)->elements) {
		in->why = "no so many elements";
		return false;
	}
	while (!skip(in, '}')) {
		if (!parse_setting(in, type_of(c)->elements, &c->elements[c->nr_elements]))
			return false;
		skip(in, ',');
	}
	c->nr_elements++;
	return true;
}

static bool parse_call(struct parser *in)
{
	struct call *c = &in->p->calls[in->p->nr_calls];
	int name = -1, type;
	char text[32];

	memset(c, 0, sizeof(*c));
	word(in, text, sizeof(text));
	if (skip(in, '=')) {
		name = atoi(text + 1);
		if (name < 0 || name >= (int)ARRAY_SIZE_OF(in->call)) {
			in->why = "results are named r0, r1, ...";
			return false;
		}
		word(in, text, sizeof(text));
	}
	type = call_type_find(text);
	if (type < 0 || !skip(in, '(')) {
		in->why = "no such call";
		return false;
	}
	c->type = type;
	while (!skip(in, ')')) {
		if (skip(in, '{') ? !parse_element(in, c) :
				    !parse_setting(in, type_of(c)->fields, &c->args))
			return false;
		skip(in, ',');
	}
	if (word(in, text, sizeof(text)))
		c->async = !strcmp(text, "async");
	if (name >= 0)
		in->call[name] = in->p->nr_calls;
	in->p->nr_calls++;
	return true;
}

bool program_parse(struct program *p, const char *text, const char *name)
{
	struct parser in = { .p = p, .at = text };
	unsigned int line = 0;

	p->nr_calls = 0;
	memset(in.call, -1, sizeof(in.call));
	while (*in.at) {
		line++;
		skip_blanks(&in);
		if (*in.at && *in.at != '#' && *in.at != '\n') {
			if (p->nr_calls == MAX_CALLS)
				in.why = "too many calls";
			else
				parse_call(&in);
		}
		if (*in.at == '#')
			in.at += strcspn(in.at, "\n");
		skip_blanks(&in);
		if (!in.why && *in.at && *in.at != '\n')
			in.why = "more than a call";
		if (in.why) {
			fprintf(stderr, "%s:%u: %s: %.40s\n", name, line, in.why, in.at);
			return false;
		}
		if (*in.at)
			in.at++;
	}
	return true;
}

__u64 text_hash(const char *text)
{
	__u64 hash = 0xcbf29ce484222325ULL;

	while (*text)
		hash = (hash ^ (unsigned char)*text++) * 0x100000001b3ULL;
	return hash;
}
