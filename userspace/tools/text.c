// SPDX-License-Identifier: GPL-2.0-only
#include "tool.h"

#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at the start of the text; 0: there is none. */
static size_t utf8_sequence(const unsigned char *text, size_t left, uint32_t *character)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len, i;
	uint32_t c = text[0];

	if (c < 0x80)
		len = 1;
	else if (c >= 0xc2 && c < 0xe0)
		len = 2;
	else if (c >= 0xe0 && c < 0xf0)
		len = 3;
	else if (c >= 0xf0 && c < 0xf5)
		len = 4;
	else
		return 0;
	if (len > left)
		return 0;
	if (len > 1)
		c &= 0x7fU >> len;
	for (i = 1; i < len; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (text[i] & 0x3fU);
	}
	if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*character = c;
	return len;
}

bool text_is_utf8(const void *data, size_t len)
{
	const unsigned char *text = data;
	uint32_t character;
	size_t n;

	for (; len; text += n, len -= n) {
		n = utf8_sequence(text, len, &character);
		if (!n)
			return false;
	}
	return true;
}

/* Characters that do something to a terminal instead of showing in it. */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200e && c <= 0x200f) ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

bool text_is_plain(const char *text)
{
	size_t left = strlen(text), n;
	uint32_t character;

	for (; left; text += n, left -= n) {
		n = utf8_sequence((const unsigned char *)text, left, &character);
		if (!n || is_control(character))
			return false;
	}
	return true;
}

void text_print(FILE *to, const void *data, size_t len)
{
	const unsigned char *text = data;
	uint32_t character;
	size_t n, i;

	for (; len; text += n, len -= n) {
		n = utf8_sequence(text, len, &character);
		if (n == 1 && character == '\n') {
			fputc(' ', to);
		} else if (n && !is_control(character)) {
			fwrite(text, 1, n, to);
		} else {
			n = n ? n : 1;
			for (i = 0; i < n; i++)
				fprintf(to, "\\x%02x", text[i]);
		}
	}
}

static char *base64(const unsigned char *data, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = malloc((len + 2) / 3 * 4 + 1);
	char *to = text;

	if (!text)
		return NULL;
	while (len) {
		size_t n = len < 3 ? len : 3;
		uint32_t word = (uint32_t)data[0] << 16;

		if (n > 1)
			word |= (uint32_t)data[1] << 8;
		if (n > 2)
			word |= data[2];
		*to++ = digits[word >> 18];
		*to++ = digits[word >> 12 & 63];
		*to++ = n > 1 ? digits[word >> 6 & 63] : '=';
		*to++ = n > 2 ? digits[word & 63] : '=';
		data += n;
		len -= n;
	}
	*to = '\0';
	return text;
}

void json_add_number(struct json_object *object, const char *key, uint64_t number)
{
	json_object_object_add(object, key, json_object_new_uint64(number));
}

void json_add_text(struct json_object *object, const char *key, const char *text)
{
	char *clean = NULL;
	size_t len;
	FILE *to;

	if (!text_is_utf8(text, strlen(text))) {
		to = open_memstream(&clean, &len);
		if (to)
			text_print(to, text, strlen(text));
		if (!to || fclose(to)) {
			complain("no memory");
			exit(STATUS_ERROR);
		}
		text = clean;
	}
	json_object_object_add(object, key, json_object_new_string(text));
	free(clean);
}

void json_add_bytes(struct json_object *object, const void *data, size_t len)
{
	char *encoded;

	if (text_is_utf8(data, len)) {
		struct json_object *text = json_object_new_string_len(data, (int)len);

		json_object_object_add(object, "text", text);
		return;
	}
	encoded = base64(data, len);
	if (!encoded) {
		complain("no memory");
		exit(STATUS_ERROR);
	}
	json_add_text(object, "base64", encoded);
	free(encoded);
}

/* For causes that this program is too old to know. */
static const char *cause_name(uint32_t cause)
{
	static char unknown[16];
	const char *name = evq_lost_name(cause);

	if (name)
		return name;
	snprintf(unknown, sizeof(unknown), "cause%u", cause);
	return unknown;
}

void json_add_lost(struct json_object *object, const __u64 *lost)
{
	struct json_object *causes = json_object_new_object();
	uint32_t i;

	for (i = 0; i < EVQ_LOST_SLOTS; i++) {
		if (lost[i])
			json_add_number(causes, cause_name(i), lost[i]);
	}
	json_object_object_add(object, "lost", causes);
}

void json_print(FILE *to, struct json_object *object)
{
	const int style = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;

	fprintf(to, "%s\n", json_object_to_json_string_ext(object, style));
	json_object_put(object);
}

uint64_t lost_sum(const __u64 *lost)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < EVQ_LOST_SLOTS; i++)
		sum += lost[i];
	return sum;
}

void lost_print(FILE *to, const __u64 *lost)
{
	const char *comma = "";
	uint32_t i;

	for (i = 0; i < EVQ_LOST_SLOTS; i++) {
		if (lost[i]) {
			fprintf(to, "%s%s %llu", comma, cause_name(i), lost[i]);
			comma = ", ";
		}
	}
}
