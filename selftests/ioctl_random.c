// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random bytes in every structure, of random size, on every kind of descriptor.
 * Whatever comes of each call, the ledgers add up after it and both queues work
 * in the end. EVQ_SEED chooses another run.
 */
#include <linux/capability.h>
#include <sys/syscall.h>

#include "evq_harness.h"

#define CALLS 15000
#define CHECK_EVERY 50

static const unsigned int commands[] = {
	EVQ_IOC_FEATURES,   EVQ_IOC_QUEUE_CREATE,      EVQ_IOC_QUEUE_HANDLE,
	EVQ_IOC_QUEUE_INFO, EVQ_IOC_QUEUE_SET,	       EVQ_IOC_QUEUE_CONTROL,
	EVQ_IOC_SUBMIT,	    EVQ_IOC_SUBSCRIBE,	       EVQ_IOC_REGISTER,
	EVQ_IOC_UNREGISTER, EVQ_IOC_SUBSCRIPTION_INFO, EVQ_IOC_QUEUE_DESTROY,
	EVQ_IOC_LANE_INFO,  EVQ_IOC_EVENT_STATE,       EVQ_IOC_FORGET,
	EVQ_IOC_RECEIPTS,   EVQ_IOC_READER,	       EVQ_IOC_ACK,
	EVQ_IOC_RECEIPT_WAIT, EVQ_IOC_RECEIPTS_INFO,
};

/* What may come of a call; EPERM where chance asks for a named queue. */
static bool expected(int ret)
{
	static const int errors[] = {
		0,	   E2BIG,  EACCES, EAGAIN, EBADF,  EBUSY,  EDQUOT,
		EEXIST,	   EFAULT, EINVAL, ENOENT, ENOMEM, ENOSPC, ENOTTY,
		ESHUTDOWN, ESTALE, EPERM,  EMSGSIZE, ETIMEDOUT,
	};

	for (size_t i = 0; i < ARRAY_SIZE(errors); i++)
		if (ret == -errors[i])
			return true;
	return false;
}

/* The descriptor that a call has made, or -1. */
static int made(unsigned int cmd, const void *arg)
{
	switch (cmd) {
	case EVQ_IOC_QUEUE_CREATE:
		return ((const struct evq_queue_create *)arg)->out_fd;
	case EVQ_IOC_QUEUE_HANDLE:
		return ((const struct evq_queue_handle *)arg)->out_fd;
	case EVQ_IOC_SUBSCRIBE:
		return ((const struct evq_subscribe *)arg)->out_fd;
	case EVQ_IOC_RECEIPTS:
		return ((const struct evq_receipts_create *)arg)->out_fd;
	case EVQ_IOC_READER:
		return ((const struct evq_reader_create *)arg)->out_fd;
	default:
		return -1;
	}
}

/* The room that pointers point to; random results may land here only. */
static char *room;
#define ROOM 65536

/* A word that is more likely than most to be valid, or nearly so. */
static __u32 odd_word(void)
{
	static const __u32 words[] = {
		0,	  0,	0,	  0,	    1,
		1,	  2,	3,	  4,	    7,
		15,	  56,	63,	  64,	    1024,
		1025,	  4096, 1U << 16, 1U << 20, (1U << 20) + 1,
		1U << 31, ~0U,
	};
	__u32 r = random_below(100);

	if (r < 85)
		return words[random_below(ARRAY_SIZE(words))];
	return random_u64();
}

static void odd_bytes(void *p, size_t size)
{
	for (size_t i = 0; i + 4 <= size; i += 4) {
		__u32 word = odd_word();

		memcpy((char *)p + i, &word, 4);
	}
}

static __u64 odd_pointer(void)
{
	switch (random_below(8)) {
	case 0:
		return 0;
	case 1:
		return ~0ULL - random_below(5000);
	case 2:
		/* over its end */
		return (uintptr_t)room + ROOM - random_below(200);
	default:
		return (uintptr_t)room + random_below(ROOM);
	}
}

static void odd_argument(unsigned int cmd, void *arg)
{
	struct evq_submit *s = arg;
	struct evq_register *r = arg;
	struct evq_event_desc *e = (void *)room;

	odd_bytes(arg, 256);
	if (cmd == EVQ_IOC_SUBMIT) {
		/* each description may point anywhere, too */
		for (int i = 0; i < 16; i++) {
			odd_bytes(&e[i], sizeof(e[i]));
			e[i].data_ptr = odd_pointer();
			if (random_below(4)) {
				e[i].flags = 0;
				e[i].reserved = 0;
				e[i].cookie = 0;
			}
		}
		s->events_ptr = random_below(2) ? (uintptr_t)room :
						  odd_pointer();
		if (random_below(4)) {
			s->event_size = sizeof(*e);
			s->flags &= 3;
			s->receipts_fd = 0;
			s->reserved = 0;
		}
	} else if (cmd == EVQ_IOC_REGISTER && random_below(2)) {
		r->match = 0;
		r->id = 0;
		r->key = 0;
		r->type = 0;
		r->priority_min = 0;
		r->priority_max = 0;
		r->flags = 0;
		r->nr_first_seqs = 0;
		r->first_seqs_ptr = 0;
	}
}

static void drop_admin(void)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2];

	CHECK(!syscall(SYS_capget, &head, data));
	data[0].effective &= ~(1U << CAP_SYS_ADMIN);
	CHECK(!syscall(SYS_capset, &head, data));
}

TEST(random_arguments)
{
	char arg[512] __attribute__((aligned(8)));
	int fds[4], accepted = 0, fds_before;
	static char buf[ROOM];
	struct reader r;

	room = mmap(NULL, ROOM + 4096, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, room);
	ASSERT_EQ(0, mprotect(room + ROOM, 4096, PROT_NONE));
	/* the default queue must not be stopped by chance */
	drop_admin();
	fds[0] = device_open(O_RDWR | O_NONBLOCK);
	fds[1] = queue_create(64, 0, 0);
	fds[2] = subscribe(fds[1], EVQ_POLICY_DROP_OLDEST, 16, 0);
	fds[3] = receipts_create(fds[1], 16);
	ASSERT_EQ(0, fcntl(fds[3], F_SETFL, O_NONBLOCK));
	ASSERT_EQ(0, fcntl(fds[1], F_SETFL, O_NONBLOCK));
	ASSERT_EQ(0, fcntl(fds[2], F_SETFL, O_NONBLOCK));
	fds_before = open_fds();

	for (int i = 0; i < CALLS; i++) {
		unsigned int cmd = commands[random_below(ARRAY_SIZE(commands))];
		unsigned int size = _IOC_SIZE(cmd), as = cmd;
		int fd = fds[random_below(ARRAY_SIZE(fds))];
		int ret;

		odd_argument(cmd, arg);
		if (!random_below(4)) {
			size = random_below(256);
			as = _IOC(random_below(4), _IOC_TYPE(cmd), _IOC_NR(cmd),
				  size);
		}
		ret = call(fd, as, arg);
		ASSERT_TRUE(expected(ret))
		TH_LOG("command 0x%x gives %d", as, ret);
		accepted += ret == 0;
		if (!ret && made(cmd, arg) >= 0)
			close(made(cmd, arg));
		if (!random_below(8)) {
			ssize_t n = read_records(fds[2], buf,
						 random_below(sizeof(buf)));

			ASSERT_TRUE(n >= 0 || n == -EAGAIN || n == -EMSGSIZE);
		}
		if (i % CHECK_EVERY)
			continue;
		queue_info(fds[0]);
		queue_info(fds[1]);
		subscription_info(fds[2]);
		ASSERT_EQ(fds_before, open_fds());
		/* or it would soon be stopped for good */
		queue_control(fds[1], EVQ_CONTROL_START);
	}
	EXPECT_LT(CALLS / 100, accepted);

	/* Both still work. */
	UNTIL(queue_control(fds[1], EVQ_CONTROL_START) == 0);
	ASSERT_EQ(0, queue_set(fds[1], 64, 4096));
	queue_settle(fds[1]);
	close(fds[2]);
	for (int i = 0; i < 2; i++) {
		int sub = subscribe_all(fds[i]);

		ASSERT_EQ(1, submit_event(fds[i], .id = 0x4a4d));
		reader_init(&r, sub);
		while (reader_event(&r)->id != 0x4a4d)
			;
		reader_free(&r);
		close(sub);
	}
}

TEST_HARNESS_MAIN
