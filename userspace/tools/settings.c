// SPDX-License-Identifier: GPL-2.0-only
#include "settings.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

const char settings_help[] =
	"  -c, --capacity=N       most events that may wait in each lane\n"
	"  -m, --max-payload=N    longest payload, bytes\n"
	"      --evict=on|off     whether an event makes room for itself in a full lane\n"
	"      --sequential=on|off  one subscription after the other; needs --ack-timeout\n"
	"      --low-mark=N       a queue that was full takes events again, for poll(2), when\n"
	"                         no more than N wait in a lane; 0: as soon as there is room\n"
	"      --kernel-reserve=N of the capacity, how much is for producers in the kernel\n"
	"      --open-level=N     highest priority that does not take the control right\n"
	"      --user-share=N     most events of one user that may wait; 0: no such limit\n"
	"      --history=N        dispatched events that each lane retains\n"
	"      --history-bytes=N  most payload bytes of these; 0: no such limit\n"
	"      --ack-timeout=TIME until when a tracked event has to be acknowledged; 0: never\n"
	"      --gate-max=TIME    how long a subscription may hold a lane; 0: not at all\n"
	"      --max-pinned=N     most payload bytes of all events of the queue; 0: no such\n"
	"                         limit\n";

/* Values that getopt_long() returns for settings without a letter begin here. */
#define OPTION_FIRST 1024

/**
 * enum kind - what a setting takes
 * @NUMBER_32: a number
 * @NUMBER_64: a number
 * @DURATION: a time
 * @SWITCH: on or off: a bit of the mode
 */
enum kind {
	NUMBER_32,
	NUMBER_64,
	DURATION,
	SWITCH,
};

#define FIELD(name) offsetof(struct evq_queue_settings, name)

/* The letter, or 0; which of enum evq_set; what it takes, from where to where; where that goes. */
static const struct setting {
	const char *option;
	int letter;
	uint32_t set;
	enum kind kind;
	uint64_t min;
	uint64_t max;
	size_t field;
} table[] = {
	{ "--capacity", 'c', EVQ_SET_CAPACITY, NUMBER_32, 1, EVQ_CAPACITY_MAX, FIELD(capacity) },
	{ "--max-payload", 'm', EVQ_SET_MAX_PAYLOAD, NUMBER_32, 1, EVQ_PAYLOAD_MAX,
	  FIELD(max_payload) },
	{ "--evict", 0, EVQ_SET_MODE, SWITCH, 0, EVQ_MODE_EVICT, FIELD(mode) },
	{ "--sequential", 0, EVQ_SET_MODE, SWITCH, 0, EVQ_MODE_SEQUENTIAL, FIELD(mode) },
	{ "--no-direct", 0, EVQ_SET_MODE, SWITCH, 0, EVQ_MODE_NO_DIRECT, FIELD(mode) },
	{ "--low-mark", 0, EVQ_SET_LOW_MARK, NUMBER_32, 0, EVQ_CAPACITY_MAX, FIELD(low_mark) },
	{ "--kernel-reserve", 0, EVQ_SET_KERNEL_RESERVE, NUMBER_32, 0, EVQ_CAPACITY_MAX,
	  FIELD(kernel_reserve) },
	{ "--open-level", 0, EVQ_SET_OPEN_LEVEL, NUMBER_32, 0, EVQ_LEVELS - 1, FIELD(open_level) },
	{ "--user-share", 0, EVQ_SET_USER_SHARE, NUMBER_32, 0, UINT32_MAX, FIELD(user_share) },
	{ "--history", 0, EVQ_SET_HISTORY, NUMBER_64, 0, EVQ_HISTORY_MAX, FIELD(history_events) },
	{ "--history-bytes", 0, EVQ_SET_HISTORY_BYTES, NUMBER_64, 0, UINT64_MAX,
	  FIELD(history_bytes) },
	{ "--ack-timeout", 0, EVQ_SET_ACK_TIMEOUT, DURATION, 0, 0, FIELD(ack_timeout_ns) },
	{ "--gate-max", 0, EVQ_SET_GATE_MAX, DURATION, 0, 0, FIELD(gate_max_ns) },
	{ "--max-pinned", 0, EVQ_SET_MAX_PINNED, NUMBER_64, 0, UINT64_MAX, FIELD(max_pinned) },
};

static int option_of(size_t setting)
{
	return table[setting].letter ? table[setting].letter : OPTION_FIRST + (int)setting;
}

const struct option *settings_options(const struct option *own)
{
	struct option *options;
	size_t nr = 0, i;

	while (own[nr].name)
		nr++;
	options = calloc(nr + ARRAY_SIZE(table) + 1, sizeof(*options));
	if (!options) {
		complain("no memory");
		exit(STATUS_ERROR);
	}
	memcpy(options, own, nr * sizeof(*own));
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		options[nr + i] = (struct option){
			.name = table[i].option + strlen("--"),
			.has_arg = required_argument,
			.val = option_of(i),
		};
	}
	return options;
}

static uint64_t to_value(const struct setting *setting, const char *argument)
{
	uint64_t number;

	if (setting->kind == DURATION)
		return to_duration(setting->option, argument);
	number = to_number(setting->option, argument, setting->max);
	if (number < setting->min)
		usage_error("%s is %llu at least", setting->option,
			    (unsigned long long)setting->min);
	return number;
}

static void take(struct settings *settings, const struct setting *setting, const char *argument)
{
	char *field = (char *)&settings->to + setting->field;
	uint32_t bit = (uint32_t)setting->max;
	uint64_t number;
	uint32_t short_number;

	settings->set |= setting->set;
	if (setting->kind == SWITCH) {
		settings->mode_given |= bit;
		settings->to.mode &= ~bit;
		if (to_switch(setting->option, argument))
			settings->to.mode |= bit;
		return;
	}
	number = to_value(setting, argument);
	if (setting->kind == NUMBER_32) {
		short_number = (uint32_t)number;
		memcpy(field, &short_number, sizeof(short_number));
	} else {
		memcpy(field, &number, sizeof(number));
	}
}

bool settings_take(struct settings *settings, int option, const char *argument)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++) {
		if (option == option_of(i)) {
			take(settings, &table[i], argument);
			return true;
		}
	}
	return false;
}

int settings_apply(const struct settings *settings, struct evq_queue *queue)
{
	struct evq_queue_settings to = settings->to;
	struct evq_queue_info info;

	if (evq_queue_get_info(queue, &info, sizeof(info)))
		return -1;
	if (settings->set & EVQ_SET_MODE)
		to.mode |= info.settings.mode & ~settings->mode_given;
	return evq_queue_set(queue, settings->set, &to, sizeof(to));
}

const char *settings_strerror(int error)
{
	if (error == EINVAL)
		return "--kernel-reserve is below --capacity; --sequential needs --ack-timeout";
	return evq_strerror(EVQ_OPERATION_CONTROL, error);
}
