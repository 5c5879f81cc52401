// SPDX-License-Identifier: GPL-2.0-only
#include <string.h>
#include <linux/evq.h>

#include "../evq_util.h"
#include "fuzz.h"

static bool one_in(unsigned int n)
{
	return !random_below(n);
}

/* A number that is more likely than most to be at the edge of something. */
static __u64 odd_number(void)
{
	static const __u64 numbers[] = {
		0, 1, 2, 3, 4, 7, 8, 15, 16, 56, 63, 64, 65, 255, 256, 1024, 1025, 4095, 4096,
		1U << 16, 1U << 20, (1U << 20) + 1, 1U << 31, ~0U, 1ULL << 32, 1ULL << 63, ~0ULL,
	};

	if (one_in(8))
		return random_u64() >> random_below(64);
	return numbers[random_below(ARRAY_SIZE_OF(numbers))];
}

static __u64 some_number(__u64 most)
{
	switch (random_below(10)) {
	case 0:
		return most;
	case 1:
		return most + 1;
	case 2:
		return random_u64() % (most + 1);
	case 3:
		return odd_number();
	default:
		return random_u64() % ((most < 8 ? most : 8) + 1);
	}
}

static __u64 some_flags(const struct symbol *symbols, bool one)
{
	__u64 flags = 0, n = 0;

	for (const struct symbol *s = symbols; s->name; s++, n++)
		if (one_in(3))
			flags |= s->value;
	if (one)
		return symbols[random_below(n)].value;
	return flags;
}

static bool fits(enum resource made, enum resource wanted)
{
	if (wanted == RES_ANY_FD)
		return made == RES_QUEUE || made == RES_SUBSCRIPTION || made == RES_RECEIPTS ||
		       made == RES_SUBMIT_RING || made == RES_ANY_FD;
	return made == wanted;
}

/* An earlier call that made what is wanted, rather a late one; -1 if there is none. */
static int maker_of(const struct program *p, unsigned int before, enum resource wanted)
{
	int found = -1;

	for (unsigned int i = 0; i < before; i++)
		if (fits(type_of(&p->calls[i])->makes, wanted) &&
		    (found < 0 || random_below(3)))
			found = i;
	return found;
}

static struct value some_result(const struct program *p, unsigned int before,
				const struct field *field)
{
	struct value v = { .number = field->size ? 0 : -1 };
	int call = maker_of(p, before, field->wants);

	/* Any at all, sometimes. */
	if (before && one_in(40))
		call = random_below(before);
	if (call < 0 || one_in(40))
		return v;
	v.kind = VALUE_RESULT;
	v.call = call;
	v.number = fits(field->wants, RES_ANY_FD) || random_below(3) ? 0 : random_below(MAX_OUTS);
	return v;
}

static struct value some_value(const struct program *p, unsigned int before,
			       const struct field *field)
{
	static const __u32 lengths[] = { 0, 1, 7, 8, 16, 100, 256, 1024, 4096, 4097, 65536 };
	static const __u32 spans[] = { 0, 1, 1000, 100000, 1000000, 10000000, 1000000000 };
	struct value v = { VALUE_NUMBER };

	switch (field->kind) {
	case FIELD_FLAGS:
	case FIELD_ENUM:
		v.number = one_in(30) ? odd_number() :
					some_flags(field->symbols, field->kind == FIELD_ENUM);
		break;
	case FIELD_ID:
		v.number = one_in(20) ? odd_number() : random_below(4);
		break;
	case FIELD_LENGTH:
		v.number = one_in(30) ? odd_number() & 0xfffff :
					lengths[random_below(ARRAY_SIZE_OF(lengths))];
		break;
	case FIELD_TIME:
		if (one_in(30)) {
			v.number = odd_number();
			break;
		}
		v.kind = VALUE_NOW;
		v.number = spans[random_below(5) + 1] * (one_in(6) ? -1LL : 1LL);
		break;
	case FIELD_SPAN:
		v.number = one_in(20) ? odd_number() : spans[random_below(ARRAY_SIZE_OF(spans))];
		break;
	case FIELD_NAME:
		v.number = one_in(10) ? random_below(11) : random_below(4);
		break;
	case FIELD_RESOURCE:
		v = some_result(p, before, field);
		break;
	case FIELD_NUMBER:
		v.number = some_number(field->most);
		break;
	default:
		v.number = odd_number();
	}
	return v;
}

/* How often, of a hundred, an argument is given. */
static unsigned int how_often(const struct field *field, bool wild)
{
	if (field->kind == FIELD_RESOURCE)
		return 95;
	if (wild)
		return 60;
	switch (field->kind) {
	case FIELD_ZERO:
	case FIELD_POINTER:
		return 1;
	case FIELD_ENUM:
		/* how the structure is given: rarely in another way */
		return field->size || field->offset ? 70 : 2;
	case FIELD_TIME:
		return 30;
	default:
		return 50;
	}
}

static void fill(const struct program *p, unsigned int before, const struct field *fields,
		 struct values *values, bool wild)
{
	for (unsigned int i = 0; i < nr_fields(fields); i++) {
		if (random_below(100) >= how_often(&fields[i], wild))
			continue;
		values->given |= 1U << i;
		values->of[i] = some_value(p, before, &fields[i]);
	}
}

static unsigned int some_type(const struct program *p, unsigned int before)
{
	unsigned int all = 0, type, pick;

	for (type = 0; type < nr_call_types; type++)
		all += call_types[type].weight;
	for (;;) {
		pick = random_below(all);
		for (type = 0; pick >= call_types[type].weight; type++)
			pick -= call_types[type].weight;
		/* What it is about should be there, mostly. */
		if (!call_types[type].fields[ARG_FD].wants || one_in(20) ||
		    maker_of(p, before, call_types[type].fields[ARG_FD].wants) >= 0)
			return type;
	}
}

/* Arguments that hang together */

static bool has(const struct call *c, const char *name)
{
	return c->args.given & 1U << field_find(type_of(c)->fields, name);
}

static __u64 number(const struct call *c, const char *name)
{
	const struct value *v = &c->args.of[field_find(type_of(c)->fields, name)];

	return has(c, name) && v->kind == VALUE_NUMBER ? v->number : 0;
}

static void set_number(struct call *c, const char *name, __u64 to)
{
	int i = field_find(type_of(c)->fields, name);

	c->args.given |= 1U << i;
	c->args.of[i] = (struct value){ .number = to };
}

static void leave_out(struct call *c, const char *name)
{
	c->args.given &= ~(1U << field_find(type_of(c)->fields, name));
}

/* Which arguments a flag stands for; ends with no name */
struct flag_of {
	const char *name;
	__u64 flag;
};

/* Those flags of an argument whose own arguments are given */
static void name_given(struct call *c, const char *flags, const struct flag_of *of)
{
	__u64 given = 0;

	for (; of->name; of++)
		if (has(c, of->name))
			given |= of->flag;
	set_number(c, flags, given);
}

static void agree_settings(struct call *c)
{
	static const struct flag_of settings[] = {
		{ "capacity", EVQ_SET_CAPACITY }, { "max_payload", EVQ_SET_MAX_PAYLOAD },
		{ "mode", EVQ_SET_MODE }, { "low_mark", EVQ_SET_LOW_MARK },
		{ "kernel_reserve", EVQ_SET_KERNEL_RESERVE },
		{ "open_level", EVQ_SET_OPEN_LEVEL }, { "user_share", EVQ_SET_USER_SHARE },
		{ "history_events", EVQ_SET_HISTORY }, { "history_bytes", EVQ_SET_HISTORY_BYTES },
		{ "ack_timeout_ns", EVQ_SET_ACK_TIMEOUT }, { "gate_max_ns", EVQ_SET_GATE_MAX },
		{ "max_pinned", EVQ_SET_MAX_PINNED }, { NULL },
	};

	for (const struct flag_of *s = settings; s->name; s++)
		if (one_in(2))
			leave_out(c, s->name);
	name_given(c, "set", settings);
	if (number(c, "mode") & EVQ_MODE_SEQUENTIAL && !number(c, "ack_timeout_ns"))
		set_number(c, "mode", EVQ_MODE_EVICT);
}

static void agree_filter(struct call *c)
{
	static const struct flag_of filters[] = {
		{ "id", EVQ_MATCH_ID }, { "type", EVQ_MATCH_TYPE }, { "key", EVQ_MATCH_KEY },
		{ "priority_max", EVQ_MATCH_PRIORITY }, { NULL },
	};

	for (const struct flag_of *f = filters; f->name; f++)
		if (random_below(3))
			leave_out(c, f->name);
	name_given(c, "match", filters);
	if (!has(c, "priority_max") || number(c, "priority_min") > number(c, "priority_max"))
		leave_out(c, "priority_min");
}

static void agree_subscribe(struct call *c)
{
	if (number(c, "policy") != EVQ_POLICY_GATE)
		leave_out(c, "gate_ns");
	if (!(number(c, "flags") & EVQ_SUBSCRIBE_ACK)) {
		leave_out(c, "flags");
		leave_out(c, "max_in_hand");
		leave_out(c, "max_attempts");
	}
	if (has(c, "max_records") && number(c, "wake_records") > number(c, "max_records"))
		leave_out(c, "wake_records");
}

/* Receipts are given with their flag. */
static void agree_receipts(const struct program *p, unsigned int before, struct call *c)
{
	if (maker_of(p, before, RES_RECEIPTS) < 0)
		leave_out(c, "receipts_fd");
	else if (has(c, "receipts_fd"))
		set_number(c, "flags", number(c, "flags") | EVQ_SUBMIT_RECEIPTS);
	if (!has(c, "receipts_fd"))
		set_number(c, "flags", number(c, "flags") & ~EVQ_SUBMIT_RECEIPTS);
}

static void agree_submit(const struct program *p, unsigned int before, struct call *c)
{
	int id = field_find(type_of(c)->elements, "id");
	int flags = field_find(type_of(c)->elements, "flags");
	int cookie = field_find(type_of(c)->elements, "cookie");

	agree_receipts(p, before, c);
	for (unsigned int e = 0; e < c->nr_elements; e++) {
		struct values *values = &c->elements[e];
		__u64 *of = &values->of[flags].number;

		if (!has(c, "receipts_fd"))
			*of &= ~EVQ_EVENT_TRACKED;
		if (!(*of & EVQ_EVENT_TRACKED))
			values->given &= ~(1U << cookie);
		if (!(values->given & 1U << id) || !values->of[id].number)
			*of &= ~EVQ_EVENT_UNIQUE;
	}
}

/* What would be refused for one argument because of another is made to agree. */
static void agree(struct program *p, unsigned int at)
{
	struct call *c = &p->calls[at];

	switch (type_of(c)->cmd) {
	case EVQ_IOC_QUEUE_SET:
		agree_settings(c);
		break;
	case EVQ_IOC_REGISTER:
		agree_filter(c);
		break;
	case EVQ_IOC_SUBSCRIBE:
		agree_subscribe(c);
		break;
	case EVQ_IOC_SUBMIT:
		if (number(c, "_uring"))
			leave_out(c, "deadline_ns");
		agree_submit(p, at, c);
		break;
	case EVQ_IOC_SUBMIT_RING:
		agree_receipts(p, at, c);
		set_number(c, "event_size", sizeof(struct evq_event_desc));
		break;
	case EVQ_IOC_SUBMIT_RING_KICK:
		if (!(number(c, "flags") & EVQ_SUBMIT_RING_WAIT)) {
			leave_out(c, "position");
			leave_out(c, "deadline_ns");
		}
		break;
	case EVQ_IOC_QUEUE_CONTROL:
		if (number(c, "op") != EVQ_CONTROL_DRAIN)
			leave_out(c, "deadline_ns");
		break;
	case EVQ_IOC_FORGET:
		set_number(c, "flags", number(c, "id") ? 0 : EVQ_FORGET_ALL);
		break;
	case EVQ_IOC_QUEUE_HANDLE:
		if (!number(c, "rights"))
			set_number(c, "rights", EVQ_RIGHT_SUBMIT | EVQ_RIGHT_SUBSCRIBE);
		break;
	}
}

/* Fills in the call at @at, which is empty. */
static void make_call(struct program *p, unsigned int at, bool wild)
{
	struct call *c = &p->calls[at];
	bool strange = wild || one_in(25);

	c->type = some_type(p, at);
	c->async = one_in(6);
	fill(p, at, type_of(c)->fields, &c->args, strange);
	if (type_of(c)->elements)
		c->nr_elements = 1 + random_below(one_in(2) ? MAX_ELEMENTS : 1);
	for (unsigned int e = 0; e < c->nr_elements; e++)
		fill(p, at, type_of(c)->elements, &c->elements[e], strange);
	if (!strange)
		agree(p, at);
}

static void append_text(struct program *p, const char *text)
{
	struct program more;

	if (!program_parse(&more, text, "a beginning"))
		return;
	memcpy(p->calls, more.calls, more.nr_calls * sizeof(p->calls[0]));
	p->nr_calls = more.nr_calls;
}

void program_generate(struct program *p, bool wild)
{
	/* With a queue of its own at least a program has something to work on. */
	static const char *const beginnings[] = {
		"r0 = open(flags=RDWR|NONBLOCK)\n",
		"r0 = open(flags=RDWR)\n"
		"r1 = QUEUE_CREATE(fd=r0)\n",
		"r0 = open(flags=RDWR)\n"
		"r1 = QUEUE_CREATE(fd=r0, capacity=4)\n"
		"nonblock(fd=r1, on=1)\n"
		"r2 = SUBSCRIBE(fd=r1)\n"
		"REGISTER(fd=r2)\n",
		"r0 = open(flags=RDWR)\n"
		"r1 = QUEUE_CREATE(fd=r0, capacity=8, nr_lanes=2)\n"
		"r2 = SUBSCRIBE(fd=r1, flags=ACK, max_records=4)\n"
		"REGISTER(fd=r2)\n"
		"r3 = RECEIPTS(fd=r1, capacity=8)\n",
		"r0 = open(flags=RDWR)\n"
		"r1 = QUEUE_CREATE(fd=r0, capacity=2)\n"
		"QUEUE_SET(fd=r1, set=HISTORY, history_events=4)\n",
	};
	unsigned int n = wild ? 50 : 4 + random_below(16), at;

	p->nr_calls = 0;
	append_text(p, beginnings[random_below(ARRAY_SIZE_OF(beginnings))]);
	while (n-- && program_insert(p, p->nr_calls)) {
		at = p->nr_calls - 1;
		make_call(p, at, wild);
	}
}

static void change_values(const struct program *p, unsigned int at, const struct field *fields,
			  struct values *values)
{
	unsigned int n = nr_fields(fields), i;

	if (!n)
		return;
	i = random_below(n);
	if (values->given & 1U << i && one_in(4)) {
		values->given &= ~(1U << i);
		return;
	}
	/* One that is given rather than another. */
	for (unsigned int tries = 0; tries < 3 && !(values->given & 1U << i); tries++)
		i = random_below(n);
	values->given |= 1U << i;
	if (values->of[i].kind == VALUE_NUMBER && !fields[i].symbols && one_in(3))
		values->of[i].number += random_below(2) ? 1 : -1;
	else
		values->of[i] = some_value(p, at, &fields[i]);
}

static void change_call(struct program *p, unsigned int at)
{
	struct call *c = &p->calls[at];

	if (type_of(c)->elements && one_in(3)) {
		if (c->nr_elements < MAX_ELEMENTS && one_in(3)) {
			memset(&c->elements[c->nr_elements], 0, sizeof(c->elements[0]));
			fill(p, at, type_of(c)->elements, &c->elements[c->nr_elements++], false);
		} else if (c->nr_elements > 1 && one_in(4)) {
			c->nr_elements--;
		} else if (c->nr_elements) {
			change_values(p, at, type_of(c)->elements,
				      &c->elements[random_below(c->nr_elements)]);
		}
	} else if (one_in(10)) {
		c->async = !c->async;
	} else {
		change_values(p, at, type_of(c)->fields, &c->args);
	}
}

/* The first calls of @other, then all of @p, as far as there is room. */
static void put_before(struct program *p, const struct program *other)
{
	unsigned int n = 1 + random_below(other->nr_calls);

	for (unsigned int i = 0; i < n && program_insert(p, i); i++)
		p->calls[i] = other->calls[i];
}

void program_mutate(struct program *p, const struct program *other)
{
	unsigned int n = 1 + random_below(5), at;
	struct call copy;

	if (other && other->nr_calls && one_in(8))
		put_before(p, other);
	while (n--) {
		if (!p->nr_calls) {
			program_generate(p, false);
			return;
		}
		at = random_below(p->nr_calls);
		switch (random_below(10)) {
		case 0:
			program_remove(p, at, 1);
			break;
		case 1:
			copy = p->calls[at];
			if (program_insert(p, at + 1))
				p->calls[at + 1] = copy;
			break;
		case 2:
		case 3:
		case 4:
			if (one_in(2))
				at = p->nr_calls - 1;
			if (program_insert(p, at + 1))
				make_call(p, at + 1, false);
			break;
		default:
			change_call(p, at);
			if (random_below(4))
				agree(p, at);
		}
	}
}
