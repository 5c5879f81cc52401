// SPDX-License-Identifier: GPL-2.0-only
#include <dirent.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/syscall.h>

#include "evq_kernel.h"

#define CONTROL "/sys/kernel/debug/evq_test/control"
#define STATE "/sys/kernel/debug/evq_test/state"
#define MAGIC 0x7e571e57

/* EVQ_KO says where evq.ko is; the others are where it was built. */
static bool find_module(const char *name, char *path)
{
	const char *env = getenv("EVQ_KO");
	char ko[PATH_MAX];

	if (!env)
		return false;
	snprintf(ko, sizeof(ko), "%s", env);
	snprintf(path, PATH_MAX, "%.3000s/%.1000s", dirname(ko), name);
	return !access(path, R_OK);
}

bool module_exists(const char *name)
{
	char path[PATH_MAX];

	return find_module(name, path);
}

int module_load(const char *name, const char *params)
{
	char path[PATH_MAX];
	int fd, ret;

	CHECK(find_module(name, path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	ret = syscall(SYS_finit_module, fd, params, 0) ? -errno : 0;
	close(fd);
	return ret;
}

int module_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

bool module_is_loaded(const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/module/%s", name);
	return !access(path, F_OK);
}

void module_parameters(const char *name, char *params, size_t size)
{
	char folder[PATH_MAX], path[PATH_MAX], value[256];
	struct dirent *entry;
	size_t len = 0;
	DIR *dir;
	FILE *f;

	params[0] = '\0';
	snprintf(folder, sizeof(folder), "/sys/module/%.64s/parameters", name);
	dir = opendir(folder);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%.1000s/%s", folder, entry->d_name);
		f = fopen(path, "r");
		if (!f)
			continue;
		if (fgets(value, sizeof(value), f)) {
			value[strcspn(value, "\n")] = '\0';
			len += snprintf(params + len, size - len, "%s=%s ",
					entry->d_name, value);
			CHECK(len < size);
		}
		fclose(f);
	}
	closedir(dir);
}

int evq_test(const char *fmt, ...)
{
	char line[128];
	va_list args;
	int fd, len, ret;

	va_start(args, fmt);
	len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	fd = open(CONTROL, O_WRONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	ret = write(fd, line, len) == len ? 0 : -errno;
	close(fd);
	return ret;
}

long long evq_test_state(const char *object, const char *field)
{
	char line[512], word[64];
	long long number = -1;
	FILE *f = fopen(STATE, "r");

	CHECK(f);
	snprintf(word, sizeof(word), " %s ", field);
	while (fgets(line, sizeof(line), f)) {
		size_t len = strlen(object);
		const char *at;

		if (strncmp(line, object, len) || line[len] != ' ')
			continue;
		at = strstr(line, word);
		CHECK(at);
		number = atoll(at + strlen(word));
		break;
	}
	fclose(f);
	return number;
}

const struct evq_test_payload *evq_test_event(const struct evq_event_record *e)
{
	const struct evq_test_payload *p = record_data(e);

	CHECK(e->data_len >= sizeof(*p));
	CHECK_EQ(MAGIC, p->magic);
	CHECK_EQ(e->key, p->source);
	CHECK_EQ(e->type, p->source);
	CHECK_EQ(e->id, p->number);
	CHECK(payload_is(p->fill, e->data_len - sizeof(*p), p->number));
	return p;
}
