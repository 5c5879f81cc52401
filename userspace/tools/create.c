// SPDX-License-Identifier: GPL-2.0-only
/*
 * evq create, evq destroy: named queues.
 */
#include "settings.h"
#include "tool.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char create_help[] =
	"Usage: evq create [OPTION...] NAME\n"
	"\n"
	"Make a queue that has a name. It is /dev/evq-NAME, shows itself in\n"
	"/sys/class/evq/NAME, and lives until evq destroy NAME. Takes CAP_SYS_ADMIN.\n"
	"\n"
	"  -l, --lanes=N          lanes, each with a kernel thread: 1 (default) to 64;\n"
	"                         events of equal key share one\n"
	"  -M, --mode=MODE        permissions of the device node, octal; default 0660\n"
	"  -o, --owner=USER       its owner, a name or a number; default the caller\n"
	"  -g, --group=GROUP      its group, likewise\n"
	"      --paused           accept events, but do not dispatch until evq ctl start\n"
	"  -h, --help             print this\n"
	"\n"
	"Settings, which evq ctl set changes later:\n";

static const char destroy_help[] =
	"Usage: evq destroy [OPTION...] NAME\n"
	"\n"
	"Destroy a named queue. Its node and its name are gone at once; programs that\n"
	"have it open read what it had accepted, and then the end of file. Takes\n"
	"CAP_SYS_ADMIN.\n"
	"\n"
	"  -h, --help  print this\n";

static const char *reason(int error)
{
	switch (error) {
	case EEXIST:
		return "there is a queue of that name: evq list shows it, evq destroy removes it";
	case ENOENT:
		return "there is no queue of that name: evq list shows those that there are";
	case ENOSPC:
		return "as many queues exist as may: destroy one, or raise max_queues";
	case EDQUOT:
		return "you have as many queues as you may: destroy one, or raise user_queues";
	default:
		return evq_strerror(EVQ_OPERATION_CREATE, error);
	}
}

static uint32_t to_mode(const char *text)
{
	char *end;
	unsigned long mode = strtoul(text, &end, 8);

	if (!*text || *end || strspn(text, "01234567") != strlen(text) || mode > 0777)
		usage_error("--mode takes permissions in octal, like 0660, not \"%s\"", text);
	return (uint32_t)mode;
}

static uint32_t to_user(const char *text)
{
	const struct passwd *user = getpwnam(text);

	if (user)
		return user->pw_uid;
	if (!*text || strspn(text, "0123456789") != strlen(text))
		usage_error("there is no user \"%s\"", text);
	return to_u32("--owner", text, UINT32_MAX - 1);
}

static uint32_t to_group(const char *text)
{
	const struct group *group = getgrnam(text);

	if (group)
		return group->gr_gid;
	if (!*text || strspn(text, "0123456789") != strlen(text))
		usage_error("there is no group \"%s\"", text);
	return to_u32("--group", text, UINT32_MAX - 1);
}

/* A queue whose settings were refused would not be what was asked for. */
static int set_or_destroy(struct evq_queue *queue, const char *name,
			  const struct settings *settings)
{
	int error;

	if (!settings->set || !settings_apply(settings, queue))
		return STATUS_OK;
	error = errno;
	complain("cannot create %s: %s", name, settings_strerror(error));
	if (evq_queue_destroy(NULL, name))
		complain("cannot destroy it again: %s", reason(errno));
	return STATUS_ERROR;
}

static int make_queue(const struct evq_queue_options *what, const struct settings *settings)
{
	struct evq_queue *queue = evq_queue_create(NULL, what, sizeof(*what));
	int status;

	if (!queue) {
		complain("cannot create %s: %s", what->name, reason(errno));
		return STATUS_ERROR;
	}
	status = set_or_destroy(queue, what->name, settings);
	evq_queue_close(queue);
	return status;
}

enum {
	OPTION_PAUSED = 256,
};

int run_create(int argc, char **argv)
{
	static const struct option own[] = {
		{ "lanes", required_argument, NULL, 'l' },
		{ "mode", required_argument, NULL, 'M' },
		{ "owner", required_argument, NULL, 'o' },
		{ "group", required_argument, NULL, 'g' },
		{ "paused", no_argument, NULL, OPTION_PAUSED },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const struct option *options = settings_options(own);
	struct evq_queue_options what = { .mode = 0660, .uid = geteuid(), .gid = getegid() };
	struct settings settings = { 0 };
	int option;

	while ((option = getopt_long(argc, argv, "l:M:o:g:c:m:h", options, NULL)) >= 0) {
		switch (option) {
		case 'l':
			what.nr_lanes = to_size("--lanes", optarg, EVQ_LANES_MAX);
			break;
		case 'M':
			what.mode = to_mode(optarg);
			break;
		case 'o':
			what.uid = to_user(optarg);
			break;
		case 'g':
			what.gid = to_group(optarg);
			break;
		case OPTION_PAUSED:
			what.flags |= EVQ_QUEUE_PAUSED;
			break;
		case 'h':
			fputs(create_help, stdout);
			fputs(settings_help, stdout);
			return STATUS_OK;
		default:
			if (!settings_take(&settings, option, optarg))
				try_help();
		}
	}
	free((void *)options);
	if (argc - optind != 1)
		usage_error("takes one name");
	what.name = to_queue_name(argv[optind]);
	return make_queue(&what, &settings);
}

int run_destroy(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *name;
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		if (option != 'h')
			try_help();
		fputs(destroy_help, stdout);
		return STATUS_OK;
	}
	if (argc - optind != 1)
		usage_error("takes one name");
	name = to_queue_name(argv[optind]);
	if (evq_queue_destroy(NULL, name)) {
		complain("cannot destroy %s: %s", name, reason(errno));
		return STATUS_ERROR;
	}
	return STATUS_OK;
}
