// SPDX-License-Identifier: GPL-2.0-only
#include "tool.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NSEC_PER_SEC 1000000000ULL

/* Signals this close together are one. */
#define TOGETHER_NS (100 * 1000 * 1000ULL)

static const char *command;
static atomic_bool signalled;
/* When that was. Only the handler looks at it. */
static uint64_t signalled_ns;

void set_command(const char *name)
{
	command = name;
}

__printf(1, 0) static void say(const char *format, va_list args)
{
	fprintf(stderr, "evq%s%s: ", command ? " " : "", command ? command : "");
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
}

void complain(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
}

void try_help(void)
{
	fprintf(stderr, "Try: evq%s%s --help\n", command ? " " : "", command ? command : "");
	exit(STATUS_USAGE);
}

void usage_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say(format, args);
	va_end(args);
	try_help();
}

/* A number at the start of the text; what follows it in *end. */
static bool number_at(const char *text, char **end, uint64_t *number)
{
	bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*number = strtoull(text, end, hex ? 16 : 10);
	return !errno;
}

uint64_t to_number(const char *what, const char *text, uint64_t max)
{
	uint64_t number;
	char *end;

	if (!number_at(text, &end, &number) || *end)
		usage_error("%s takes a number, not \"%s\"", what, text);
	if (number > max)
		usage_error("%s is %llu at most", what, (unsigned long long)max);
	return number;
}

uint32_t to_u32(const char *what, const char *text, uint32_t max)
{
	return (uint32_t)to_number(what, text, max);
}

uint32_t to_size(const char *what, const char *text, uint32_t max)
{
	uint32_t number = to_u32(what, text, max);

	if (!number)
		usage_error("%s is 1 at least", what);
	return number;
}

int to_open_fd(const char *what, const char *text)
{
	int fd = (int)to_u32(what, text, INT32_MAX);

	if (fcntl(fd, F_GETFD) < 0)
		usage_error("%s %d is not open", what, fd);
	return fd;
}

int32_t to_signed(const char *what, const char *text)
{
	bool negative = *text == '-';
	uint64_t number = to_number(what, text + negative, INT32_MAX);

	return negative ? -(int32_t)number : (int32_t)number;
}

struct range to_range(const char *what, const char *text, uint64_t max)
{
	struct range range = { .min = 0, .max = max };
	bool bad = false;
	char *end = (char *)text;

	if (*text != '-') {
		bad = !number_at(text, &end, &range.min);
		if (!bad && !*end)
			range.max = range.min;
	}
	if (!bad && *end) {
		bad = *end++ != '-';
		if (!bad && *end)
			bad = !number_at(end, &end, &range.max) || *end;
		else if (!bad)
			bad = *text == '-';
	}
	if (range.min > range.max || range.max > max)
		bad = true;
	if (bad)
		usage_error("%s takes a range, like 5, 5-9, 5- or -9, within 0-%llu", what,
			    (unsigned long long)max);
	return range;
}

bool to_switch(const char *what, const char *text)
{
	bool on = !strcmp(text, "on");

	if (!on && strcmp(text, "off"))
		usage_error("%s is on or off, not \"%s\"", what, text);
	return on;
}

uint64_t to_duration(const char *what, const char *text)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {
		{ "", 1e9 },
		{ "s", 1e9 },
		{ "ms", 1e6 },
		{ "us", 1e3 },
		{ "ns", 1e0 },
		{ "m", 60e9 },
		{ "h", 3600e9 },
	};
	char *end;
	double number = strtod(text, &end);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(units) && end != text; i++) {
		double ns = number * units[i].ns;

		if (!strcmp(end, units[i].name) && isfinite(ns) && ns >= 0 && ns < 9e18)
			return (uint64_t)ns;
	}
	usage_error("%s takes a time like 2, 1.5s or 200ms, not \"%s\"", what, text);
}

const char *queue_title(const char *name)
{
	static char title[256];

	if (!name)
		return "/dev/evq";
	if (strchr(name, '/'))
		return name;
	snprintf(title, sizeof(title), "/dev/evq-%s", name);
	return title;
}

const char *to_queue_name(const char *text)
{
	static const char *const letters =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strlen(text);

	if (!len || len >= EVQ_NAME_SIZE || strspn(text, letters) < len ||
	    !isalnum((unsigned char)*text))
		usage_error("\"%s\" is no name: 1 to %d of A-Z a-z 0-9 . _ -, no sign first",
			    text, EVQ_NAME_SIZE - 1);
	return text;
}

const char *error_name(uint32_t error)
{
	static char number[16];
	const char *name = strerrorname_np((int)error);

	if (error && name)
		return name;
	snprintf(number, sizeof(number), "%u", error);
	return number;
}

static const char *open_reason(const char *name, int error)
{
	/* Where there is the default queue it is not for want of the module. */
	if (error == ENOENT && name && !strchr(name, '/') && !access("/dev/evq", F_OK))
		return "no such queue: evq list shows those that there are, evq create makes one";
	return evq_strerror(EVQ_OPERATION_OPEN, error);
}

struct evq_queue *open_queue(const char *name, uint32_t rights)
{
	struct evq_queue *queue = evq_queue_open(name, rights);

	if (!queue) {
		complain("cannot open %s: %s", queue_title(name), open_reason(name, errno));
		exit(STATUS_ERROR);
	}
	return queue;
}

void tell_ready(int fd)
{
	if (fd < 0)
		return;
	if (write(fd, "\n", 1) != 1)
		complain("cannot write to --ready-fd %d: %s", fd, strerror(errno));
	close(fd);
}

static void on_alarm(int number)
{
	(void)number;
	alarm(1);
}

static void on_signal(int number)
{
	uint64_t now = evq_deadline(0);

	if (!signalled) {
		signalled_ns = now;
		signalled = true;
	} else if (now - signalled_ns > TOGETHER_NS) {
		/* Comes when the handler returns. */
		signal(number, SIG_DFL);
		raise(number);
	}
	alarm(1);
}

void catch_signals(int flags)
{
	static const int signals[] = { SIGINT, SIGTERM };
	struct sigaction action = { .sa_handler = on_alarm, .sa_flags = flags };
	struct sigaction old;
	size_t i;

	sigaction(SIGALRM, &action, NULL);
	action.sa_handler = on_signal;
	/* One at a time, for signalled_ns. */
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&action.sa_mask, signals[i]);
	for (i = 0; i < ARRAY_SIZE(signals); i++) {
		if (!sigaction(signals[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
	}
	/* Where nobody reads any more, write() says so. */
	signal(SIGPIPE, SIG_IGN);
}

bool stopping(void)
{
	return signalled;
}
