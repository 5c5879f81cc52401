// SPDX-License-Identifier: GPL-2.0-only
#include <limits.h>

#include "kselftest.h"

#include "evq_inject.h"

#define DEBUGFS "/sys/kernel/debug/"
#define FAIL_NTH "/proc/self/fail-nth"

/* Injection points in all, of all processes of this program */
static atomic_uint *total;

static const char *const injectors[] = { "failslab", "fail_page_alloc", "fail_usercopy" };

#define NR_INJECTORS ARRAY_SIZE(injectors)

/* Not all injectors have all of them. */
static const struct {
	const char *name, *value;
} files[INJECT_FILES] = {
	/* First, so that nothing else fails while the rest is written. */
	{ "probability", "0" },
	{ "task-filter", "N" },
	{ "verbose", "0" },
	{ "interval", "1" },
	{ "space", "0" },
	{ "times", "-1" },
	{ "stacktrace-depth", "32" },
	{ "require-start", "0" },
	{ "require-end", "18446744073709551615" },
	{ "reject-start", "0" },
	{ "reject-end", "0" },
	{ "ignore-gfp-wait", "N" },
	{ "ignore-gfp-highmem", "N" },
	{ "min-order", "0" },
};

static const char *path_of(size_t injector, const char *file)
{
	static char path[128];

	snprintf(path, sizeof(path), DEBUGFS "%s/%s", injectors[injector], file);
	return path;
}

const char *inject_unavailable(void)
{
	if (access(FAIL_NTH, W_OK))
		return "the kernel cannot make calls fail: it has no " FAIL_NTH;
	for (size_t i = 0; i < NR_INJECTORS; i++)
		if (access(path_of(i, "require-start"), W_OK))
			return "the kernel has not all of its injectors, or debugfs is not mounted";
	return NULL;
}

/* What fails may be this write. */
static void set(size_t injector, const char *file, const char *value)
{
	int ret;

	do {
		ret = file_write(path_of(injector, file), value);
	} while (ret == -EFAULT || ret == -ENOMEM);
	if (ret && ret != -ENOENT)
		fail_at(__FILE__, __LINE__, "%s: %s: %s", path_of(injector, file), value,
			strerror(-ret));
}

static void remember(size_t injector, const char *file, char *value, size_t size)
{
	int fd = open(path_of(injector, file), O_RDONLY | O_CLOEXEC);
	ssize_t n;

	memset(value, 0, size);
	if (fd < 0)
		return;
	n = read(fd, value, size - 1);
	CHECK(n > 0);
	value[strcspn(value, "\n")] = '\0';
	close(fd);
}

/* Memory that comes only when it is touched would be an injection point of its own. */
static void stay_in_memory(void)
{
	char stack[256 << 10];

	CHECK(!mlockall(MCL_CURRENT | MCL_FUTURE));
	explicit_bzero(stack, sizeof(stack));
}

void inject_begin(struct inject *inject)
{
	size_t i, f;

	stay_in_memory();
	for (i = 0; i < NR_INJECTORS; i++)
		for (f = 0; f < INJECT_FILES; f++)
			remember(i, files[f].name, inject->saved[i][f],
				 sizeof(inject->saved[i][f]));
	inject->begun = true;
	for (i = 0; i < NR_INJECTORS; i++)
		for (f = 0; f < INJECT_FILES; f++)
			set(i, files[f].name, files[f].value);
}

void inject_end(const struct inject *inject)
{
	size_t i, f;

	if (!inject->begun)
		return;
	for (i = 0; i < NR_INJECTORS; i++)
		set(i, "probability", "0");
	/* That comes last, then. */
	for (i = 0; i < NR_INJECTORS; i++)
		for (f = INJECT_FILES; f-- > 0;)
			if (inject->saved[i][f][0])
				set(i, files[f].name, inject->saved[i][f]);
}

static void within(unsigned long start, unsigned long end)
{
	char text[32];

	for (size_t i = 0; i < NR_INJECTORS; i++) {
		snprintf(text, sizeof(text), "%lu", start);
		set(i, "require-start", text);
		snprintf(text, sizeof(text), "%lu", end);
		set(i, "require-end", text);
	}
}

void inject_everywhere(void)
{
	within(0, ULONG_MAX);
}

/* Where the code of a module is; of the kernel itself if NULL */
static void code_of(const char *module, unsigned long *start, unsigned long *end)
{
	char line[512], type, name[256], of[64];
	FILE *f = fopen("/proc/kallsyms", "r");
	unsigned long address;

	CHECK(f);
	*start = ULONG_MAX;
	*end = 0;
	while (fgets(line, sizeof(line), f)) {
		of[0] = '\0';
		if (sscanf(line, "%lx %c %255s [%63[^]]", &address, &type, name, of) < 3 ||
		    (type != 't' && type != 'T') || strcmp(of, module ? module : ""))
			continue;
		if (address < *start)
			*start = address;
		if (address > *end)
			*end = address;
	}
	fclose(f);
	CHECK(*end);
	/* Where the last function ends is not said, but another module is not on its page. */
	*end |= 4095;
}

void inject_within_evq(void)
{
	static unsigned long start, end;

	if (!end)
		code_of("evq", &start, &end);
	within(start, end);
}

void inject_within_modules(void)
{
	unsigned long start, end;

	code_of(NULL, &start, &end);
	/* They are loaded above the kernel. */
	within(end, ULONG_MAX - 1);
}

/* Where a function of the kernel or of evq.ko is, up to the next one. Whether there is one. */
static bool function_code(const char *function, unsigned long *start, unsigned long *end)
{
	FILE *f = fopen("/proc/kallsyms", "r");
	char line[512], type, name[256];
	unsigned long address;

	CHECK(f);
	*start = 0;
	*end = ULONG_MAX;
	while (!*start && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx %c %255s", &address, &type, name) == 3 &&
		    (type == 't' || type == 'T') && !strcmp(name, function))
			*start = address;
	rewind(f);
	while (*start && fgets(line, sizeof(line), f)) {
		address = strtoul(line, NULL, 16);
		if (address > *start && address < *end)
			*end = address;
	}
	fclose(f);
	return *start;
}

void inject_within_function(const char *function)
{
	unsigned long start, end;

	if (!function_code(function, &start, &end))
		fail_at(__FILE__, __LINE__, "there is no function %s", function);
	within(start, end);
}

void inject_without(const char *function)
{
	unsigned long start, end;
	char text[32];

	if (!function_code(function, &start, &end))
		return;
	for (size_t i = 0; i < NR_INJECTORS; i++) {
		snprintf(text, sizeof(text), "%lu", start);
		set(i, "reject-start", text);
		snprintf(text, sizeof(text), "%lu", end);
		set(i, "reject-end", text);
	}
}

void inject_everybody(unsigned int slab, unsigned int pages, unsigned int copies)
{
	const unsigned int percent[NR_INJECTORS] = { slab, pages, copies };
	char text[16];

	for (size_t i = 0; i < NR_INJECTORS; i++) {
		snprintf(text, sizeof(text), "%u", percent[i]);
		set(i, "probability", text);
	}
}

/* Open in each process for itself */
static int nth_fd(void)
{
	static pid_t owner;
	static int fd;

	if (owner != getpid()) {
		fd = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
		CHECK(fd >= 0);
		owner = getpid();
	}
	return fd;
}

static void fail_nth(unsigned int nth)
{
	int fd = nth_fd(), len;
	char text[16];
	ssize_t n;

	len = snprintf(text, sizeof(text), "%u", nth);
	/* What fails may be this write. */
	do {
		n = pwrite(fd, text, len, 0);
	} while (n < 0 && errno == EFAULT);
	CHECK_EQ(len, n);
}

/* Whether the point that was to fail has come. */
static bool nth_failed(void)
{
	char text[16] = "";
	ssize_t n = pread(nth_fd(), text, sizeof(text) - 1, 0);

	/* Otherwise it is this. */
	if (n < 0 && errno == EFAULT)
		return false;
	CHECK(n > 0);
	return !atoi(text);
}

static void sweep_look(struct sweep *s, struct sweep_state *state)
{
	memset(state, 0, sizeof(*state));
	for (unsigned int i = 0; i < s->nr_watched; i++) {
		CHECK_EQ(0, call(s->watched[i], s->how[i], &state->of[i]));
		if (s->how[i] == EVQ_IOC_QUEUE_INFO)
			CHECK_EQ(0, call(s->watched[i], EVQ_IOC_LANE_INFO, &state->lanes[i]));
	}
	/* The number that would be given next; what is not closed would have it. */
	state->next_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
	CHECK(state->next_fd >= 0);
	close(state->next_fd);
}

void sweep_watch(struct sweep *s, int fd)
{
	static const unsigned long ways[] = {
		EVQ_IOC_QUEUE_INFO, EVQ_IOC_SUBSCRIPTION_INFO, EVQ_IOC_RECEIPTS_INFO,
	};
	struct sweep_state state;

	CHECK(s->nr_watched < SWEEP_WATCH_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
		if (!call(fd, ways[i], &state.of))
			s->how[s->nr_watched] = ways[i];
	CHECK(s->how[s->nr_watched]);
	s->watched[s->nr_watched++] = fd;
}

/* Which of what is watched is not as it was; -1: none; nr_watched: a descriptor more or less */
static int sweep_changed(struct sweep *s)
{
	struct sweep_state now;

	sweep_look(s, &now);
	for (unsigned int i = 0; i < s->nr_watched; i++)
		if (memcmp(&now.of[i], &s->before.of[i], sizeof(now.of[i])) ||
		    memcmp(&now.lanes[i], &s->before.lanes[i], sizeof(now.lanes[i])))
			return i;
	return now.next_fd == s->before.next_fd ? -1 : (int)s->nr_watched;
}

void sweep_unchanged(struct sweep *s)
{
	int changed = sweep_changed(s);

	if (changed < 0)
		return;
	if (changed == (int)s->nr_watched)
		fail_at(__FILE__, __LINE__, "%s, point %u: a descriptor is left", s->name, s->nth);
	fail_at(__FILE__, __LINE__, "%s, point %u: the ledger of descriptor %d has changed",
		s->name, s->nth, s->watched[changed]);
}

void sweep_begin(struct sweep *s)
{
	/* Now, as it takes a descriptor */
	nth_fd();
	s->nth = 1;
	s->over = false;
}

bool sweep_goes_on(struct sweep *s)
{
	if (!s->over)
		return true;
	*total += s->points;
	printf("# swept: %s: %u points, %u errors\n", s->name, s->points, s->failures);
	fflush(stdout);
	return false;
}

void sweep_arm(struct sweep *s)
{
	if (s->prepare)
		s->prepare(s);
	sweep_look(s, &s->before);
	fail_nth(s->nth);
	errno = 0;
}

/* The call has failed with something injected: as it may? Whether all was done. */
static bool sweep_error(struct sweep *s)
{
	s->failures++;
	if (s->ret != -ENOMEM && s->ret != -EFAULT && s->ret != s->error)
		fail_at(__FILE__, __LINE__, "%s, point %u: %s", s->name, s->nth,
			strerror(-s->ret));
	/* As if another thread had unmapped the argument: the answer finds no place. */
	if (s->ret == -EFAULT && s->full && sweep_changed(s) >= 0) {
		s->ret = s->full;
		return true;
	}
	sweep_unchanged(s);
	return false;
}

/* Whether the body is to run. */
bool sweep_success(struct sweep *s, long ret)
{
	bool again = !s->nth;

	s->ret = ret;
	s->injected = nth_failed() && !again;
	fail_nth(0);
	if (again) {
		/* After a failure, with nothing failing */
		if (ret < 0)
			fail_at(__FILE__, __LINE__, "%s: fails with %s after point %u did",
				s->name, strerror(-ret), s->points);
		s->nth = s->next;
		return true;
	}
	if (!s->injected) {
		s->over = true;
		if (ret < 0)
			fail_at(__FILE__, __LINE__, "%s: fails with %s, though nothing is made to",
				s->name, strerror(-ret));
		return true;
	}
	s->points++;
	s->next = s->nth + 1;
	if (ret < 0 && !sweep_error(s)) {
		s->nth = s->once ? s->next : 0;
		return false;
	}
	s->nth = s->next;
	return true;
}

static pid_t first;

__attribute__((constructor)) static void count(void)
{
	total = shared(sizeof(*total));
	first = getpid();
}

__attribute__((destructor)) static void tell(void)
{
	if (getpid() == first && *total)
		printf("# swept: %u points in all\n", *total);
}
