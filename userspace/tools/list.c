// SPDX-License-Identifier: GPL-2.0-only
#include "tool.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define CLASS "/sys/class/evq"

static const char help[] =
	"Usage: evq list [OPTION...]\n"
	"\n"
	"List the queues that have a device node: the default one and the named ones.\n"
	"\n"
	"  -j, --json  print one line of JSON for each queue\n"
	"  -h, --help  print this\n";

/* Attributes of a queue in sysfs, which are numbers. The first have columns. */
static const char *const numbers[] = {
	"lanes",
	"subscriptions",
	"capacity",
	"waiting",
	"accepted",
	"max_payload",
	"dispatched",
	"evicted",
	"aborted",
	"blocked",
	"retained",
	"pinned",
};

#define NR_COLUMNS 5

/* An attribute's text without the newline; NULL: there is none. */
static const char *attribute(const char *queue, const char *name)
{
	static char text[64];
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), CLASS "/%s/%s", queue, name);
	file = fopen(path, "re");
	if (!file)
		return NULL;
	if (!fgets(text, sizeof(text), file))
		*text = '\0';
	fclose(file);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void print_json(const char *queue, const char *state)
{
	struct json_object *line = json_object_new_object();
	const char *text;
	char node[128];
	size_t i;

	snprintf(node, sizeof(node), "/dev/evq%s%s", strcmp(queue, "default") ? "-" : "",
		 strcmp(queue, "default") ? queue : "");
	json_add_text(line, "name", queue);
	json_add_text(line, "node", node);
	json_add_text(line, "state", state);
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		text = attribute(queue, numbers[i]);
		if (text)
			json_add_number(line, numbers[i], strtoull(text, NULL, 10));
	}
	json_print(stdout, line);
}

static void print_line(const char *queue, const char *state)
{
	const char *text;
	size_t i;

	printf("%-31s %-8s", queue, state);
	for (i = 0; i < NR_COLUMNS; i++) {
		text = attribute(queue, numbers[i]);
		printf(" %*s", (int)strlen(numbers[i]), text ? text : "-");
	}
	putchar('\n');
}

static void print_head(void)
{
	size_t i;

	printf("%-31s %-8s", "name", "state");
	for (i = 0; i < NR_COLUMNS; i++)
		printf(" %s", numbers[i]);
	putchar('\n');
}

static int visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* One that goes away meanwhile is left out. */
static int list_queues(bool json)
{
	struct dirent **queues;
	const char *text;
	char state[64];
	int nr, i;

	nr = scandir(CLASS, &queues, visible, alphasort);
	if (nr < 0) {
		complain("cannot list " CLASS ": %s",
			 errno == ENOENT ? "is the module loaded? try: sudo insmod evq.ko" :
					   strerror(errno));
		return STATUS_ERROR;
	}
	if (!json)
		print_head();
	for (i = 0; i < nr; i++) {
		text = attribute(queues[i]->d_name, "state");
		if (text) {
			snprintf(state, sizeof(state), "%s", text);
			(json ? print_json : print_line)(queues[i]->d_name, state);
		}
		free(queues[i]);
	}
	free(queues);
	return STATUS_OK;
}

int run_list(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "jh", options, NULL)) >= 0) {
		switch (option) {
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return STATUS_OK;
		default:
			try_help();
		}
	}
	if (optind < argc)
		usage_error("takes no argument, such as %s", argv[optind]);
	return list_queues(json);
}
