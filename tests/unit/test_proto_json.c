/* The JSON report: escaping, nulls, reason counts, numbers at the ends of their ranges.
 * Whether the whole is well-formed JSON is checked with a small parser below, not by comparing texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "runtime/base/rc.h"
#include "runtime/proto.h"

static struct proto_page page;
static char json[1 << 20];
static size_t json_length;

static void put(void *arg, const char *text, size_t len)
{
    assert_ptr_equal(arg, &page);
    assert_true(len > 0 && json_length + len < sizeof json);
    memcpy(json + json_length, text, len);
    json_length += len;
    json[json_length] = 0;
}

/* A strict JSON recogniser (RFC 8259). Each returns the position after what it accepts, or NULL. */
static const char *skip_space(const char *s)
{
    return s + strspn(s, " \t\r\n");
}

static const char *accept_string(const char *s)
{
    if (*s++ != '"')
        return NULL;
    for (; *s != '"'; s++) {
        if ((unsigned char)*s < 0x20)
            return NULL;
        if (*s != '\\')
            continue;
        s++;
        if (*s == 'u') {
            if (strspn(s + 1, "0123456789abcdefABCDEF") < 4)
                return NULL;
            s += 4;
        } else if (*s == 0 || strchr("\"\\/bfnrt", *s) == NULL) {
            return NULL;
        }
    }
    return s + 1;
}

static const char *accept_number(const char *s)
{
    s += *s == '-';
    size_t digits = strspn(s, "0123456789");
    if (digits == 0 || (digits > 1 && *s == '0'))
        return NULL;
    s += digits;
    if (*s != '.')
        return s;
    digits = strspn(s + 1, "0123456789");
    return digits > 0 ? s + 1 + digits : NULL;
}

static const char *accept_value(const char *s)
{
    s = skip_space(s);
    if (*s == '{' || *s == '[') {
        bool object = *s == '{';
        char end = object ? '}' : ']';
        s = skip_space(s + 1);
        if (*s == end)
            return s + 1;
        for (;; s++) {
            s = skip_space(s);
            if (object) {
                if ((s = accept_string(s)) == NULL)
                    return NULL;
                s = skip_space(s);
                if (*s++ != ':')
                    return NULL;
            }
            if ((s = accept_value(s)) == NULL)
                return NULL;
            s = skip_space(s);
            if (*s != ',')
                return *s == end ? s + 1 : NULL;
        }
    }
    if (*s == '"')
        return accept_string(s);
    for (size_t i = 0; i < 3; i++) {
        const char *word = (const char *[]){"null", "true", "false"}[i];
        if (strncmp(s, word, strlen(word)) == 0)
            return s + strlen(word);
    }
    return accept_number(s);
}

static void write_page(void)
{
    json_length = 0;
    proto_write_json(&page, put, &page);
    const char *end = accept_value(json);
    if (end == NULL)
        fail_msg("not JSON: %s", json);
    assert_string_equal(end, "\n");
}

static void assert_has(const char *text)
{
    if (strstr(json, text) == NULL)
        fail_msg("%s is not in %s", text, json);
}

static void assert_lacks(const char *text)
{
    if (strstr(json, text) != NULL)
        fail_msg("%s is in %s", text, json);
}

static int clear_page(void **state)
{
    (void)state;
    memset(&page, 0, sizeof page);
    return 0;
}

static void test_empty_page_has_every_key(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "version",   "pid",      "exe",      "control",   "cpu_seconds",    "runtime_seconds",
        "residency", "samples",  "total",    "fragment",  "native",         "runtime",
        "traces",    "recorded", "declined", "fragments", "live",           "emitted",
        "retired",   "flushes",  "links",    "hooks",     "cache",          "bytes",
        "capacity",  "bailout",  "happened", "reason",    "at_cpu_seconds", "top",
        "pass_gains", "layout",
    };
    write_page();
    const char *after = json; /* in this order */
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char quoted[40];
        snprintf(quoted, sizeof quoted, "\"%s\": ", keys[i]);
        after = strstr(after, quoted);
        if (after == NULL)
            fail_msg("%s is missing or out of order in %s", quoted, json);
        after += strlen(quoted);
    }
    assert_has("\"version\": \"" REHEAT_VERSION "\"");
    assert_has("\"exe\": null");
    assert_has("\"control\": \"off\"");
    assert_has("\"cpu_seconds\": 0.000000");
    assert_has("\"residency\": null");
    assert_has("\"declined\": {}");
    assert_has("\"bailout\": {\"happened\": false, \"reason\": null, \"at_cpu_seconds\": null}");
    assert_has("\"top\": []");
    assert_has("\"sampler\": \"none\"");
}

static void test_strings_are_escaped(void **state)
{
    (void)state;
    static const struct {
        const char *raw, *quoted;
    } cases[] = {
        {"/usr/bin/a b", "\"/usr/bin/a b\""},
        {"a\"b\\c/d", "\"a\\\"b\\\\c/d\""},
        {"\n\t\x01\x1f\x7f", "\"\\u000a\\u0009\\u0001\\u001f\\u007f\""},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac", "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac\""},
        {"\xf0\x9f\x94\xa5", "\"\xf0\x9f\x94\xa5\""},
        {"\xff\x80z", "\"\\u00ff\\u0080z\""},
        {"\xc0\xaf", "\"\\u00c0\\u00af\""},                       /* overlong, two bytes */
        {"\xe0\x9f\xbf", "\"\\u00e0\\u009f\\u00bf\""},            /* overlong, three */
        {"\xf0\x8f\xbf\xbf", "\"\\u00f0\\u008f\\u00bf\\u00bf\""}, /* overlong, four */
        {"\xed\xa0\x80", "\"\\u00ed\\u00a0\\u0080\""},            /* surrogate */
        {"\xf4\x90\x80\x80", "\"\\u00f4\\u0090\\u0080\\u0080\""}, /* above U+10FFFF */
        {"\xf4\x8f\xbf\xbf\xed\x9f\xbf", "\"\xf4\x8f\xbf\xbf\xed\x9f\xbf\""},
        {"a\xe2\x82", "\"a\\u00e2\\u0082\""}, /* cut short by the end */
        {"\xe2\x82z", "\"\\u00e2\\u0082z\""}, /* cut short by a letter */
        {"\xc3\"", "\"\\u00c3\\\"\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        clear_page(NULL);
        strcpy(page.exe, cases[i].raw);
        write_page();
        char expected[120];
        snprintf(expected, sizeof expected, "\"exe\": %s,\n", cases[i].quoted);
        assert_has(expected);
    }
}

static void test_every_byte_gives_valid_json(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (int round = 0; round < 2000; round++) {
        for (size_t i = 0; i < sizeof page.exe; i++) {
            random = random * 1664525 + 1013904223;
            page.exe[i] = (char)(random >> 24);
        }
        write_page();
        for (size_t i = 0; i < json_length; i++)
            assert_true(json[i] != 0 && json[i] != 0x7f);
    }
}

static void test_unterminated_strings_stay_inside(void **state)
{
    (void)state;
    memset(page.exe, 'x', sizeof page.exe);
    page.exe[sizeof page.exe - 1] = '\xc3'; /* a sequence that would go on in the next field */
    page.cpu_ns = 0xbcbcbcbcbcbcbcbc;
    page.top[0].id = 1;
    memset(page.top[0].module, 'm', sizeof page.top[0].module);
    memset(page.top[0].symbol, 's', sizeof page.top[0].symbol);
    write_page();
    assert_has("xx\\u00c3\",\n");
    assert_has("mmm\", \"offset\"");
    assert_has("sss\", \"kind\"");
}

static void test_reasons_are_counted_by_name(void **state)
{
    (void)state;
    page.traces_declined[RC_OK] = 7; /* not a reason */
    page.traces_declined[RC_TOO_LONG] = 3;
    page.traces_declined[RC_NOT_FILE_TEXT] = UINT64_MAX;
    page.traces_declined[PROTO_REASONS - 1] = 2; /* of a newer library */
    write_page();
    assert_has("\"declined\": {\"too_long\": 3, \"not_file_text\": 18446744073709551615, \"reason_63\": 2}");
}

static void test_native_samples_by_reason(void **state)
{
    (void)state;
    page.samples_native = 12;
    page.samples_why[RC_UNSEEN] = 7;
    page.samples_why[RC_OUTSIDE] = 5;
    write_page();
    assert_has("\"native\": 12, \"runtime\": 0, \"native_why\": {\"unseen\": 7, \"outside\": 5}}");
}

static void test_reason_names_and_texts(void **state)
{
    (void)state;
    assert_null(proto_reason_name(RC_OK));
    assert_null(proto_reason_text(RC_OK));
    assert_string_equal(proto_reason_name(RC_END_OF_TRACE), "END_OF_TRACE");
    assert_string_equal(proto_reason_name(RC_ASSERT), "ASSERT");
    assert_string_equal(proto_reason_text(RC_FLUSHED), "cache flushed");
    assert_null(proto_reason_name(RC_COUNT));
    assert_null(proto_reason_text(UINT32_MAX));
}

static void test_bailout(void **state)
{
    (void)state;
    page.bailout_reason = RC_LOW_RESIDENCY;
    page.bailout_cpu_ns = 1500000001;
    write_page();
    assert_has("{\"happened\": true, \"reason\": \"low_residency\", \"at_cpu_seconds\": 1.500000}");
    page.bailout_reason = UINT32_MAX;
    write_page();
    assert_has("\"reason\": \"reason_4294967295\"");
}

static void test_fragments(void **state)
{
    (void)state;
    page.top[1] = (struct proto_fragment){
        .id = 12,
        .state = PROTO_FRAG_RETIRED,
        .kind = PROTO_KIND_STRAIGHT,
        .why = RC_FLUSHED,
        .insns_in = 9,
        .insns_out = 8,
        .bytes_in = 40,
        .bytes_out = 33,
        .offset = 0x11a2,
        .samples = 5,
        .entries = 6,
        .module = "libapp.so",
        .symbol = "parse",
    };
    page.top[3] = (struct proto_fragment){.id = 13, .state = PROTO_FRAG_LIVE, .why = RC_FLUSHED, .kind = 9};
    write_page();
    assert_has("{\"id\": 12, \"module\": \"libapp.so\", \"offset\": \"0x11a2\", \"symbol\": \"parse\","
               " \"kind\": \"straight\", \"insns_in\": 9, \"insns_out\": 8, \"bytes_in\": 40,"
               " \"bytes_out\": 33, \"samples\": 5, \"entries\": 6, \"state\": \"retired\", \"gain\": null,"
               " \"why\": \"flushed\"}");
    assert_has("{\"id\": 13, \"module\": null, \"offset\": \"0x0\", \"symbol\": null, \"kind\": null,");
    assert_has("\"state\": \"live\", \"gain\": null, \"why\": null}");
    page.top[1].gain_ppm = -12345;
    page.top[1].gain_error_ppm = 100;
    write_page();
    assert_has("\"gain\": -0.0123,");
    assert_lacks("\"id\": 0");
}

static void test_gains_of_passes(void **state)
{
    (void)state;
    page.gains[0] = (struct proto_gain){3, 12345, -20000};
    page.layout = (struct proto_gain){1, 0, 5000};
    write_page();
    assert_has("\"pass_gains\": {\"calls\": {\"fragments\": 3, \"measured\": null, \"shared\": null}");
    page.trials[1] = 1;
    write_page();
    assert_has("\"pass_gains\": {\"calls\": {\"fragments\": 3, \"measured\": 0.0123, \"shared\": -0.0200}");
    assert_has("\"layout\": {\"fragments\": 1, \"measured\": 0.0000, \"shared\": 0.0050}}");
    for (unsigned i = 0; proto_pass_name(i); i++) { /* each has its place in the page */
        char text[80];
        page.gains[i].fragments = page.changes[i] = 100 + i;
        write_page();
        snprintf(text, sizeof text, "\"%s\": {\"fragments\": %u,", proto_pass_name(i), 100 + i);
        assert_has(text);
        snprintf(text, sizeof text, "\"%s\": %u", proto_pass_name(i), 100 + i);
        assert_has(text);
    }
}

static void test_numbers_at_their_ends(void **state)
{
    (void)state;
    memset(&page, 0xff, sizeof page);
    write_page();
    assert_has("\"pid\": 4294967295,");
    assert_has("\"control\": null");
    assert_has("\"cpu_seconds\": 18446744073.709551,");
    assert_has("\"links\": 18446744073709551615,");
    assert_has("\"total\": 18446744073709551615,");
    assert_has("\"residency\": 0.3333,");
    assert_has("\"offset\": \"0xffffffffffffffff\"");
    assert_has("\"sampler\": null");
}

static void test_residency(void **state)
{
    (void)state;
    static const struct {
        uint64_t fragment, native, runtime;
        const char *text;
    } cases[] = {
        {0, 0, 0, "null"},
        {1, 0, 0, "1.0000"},
        {0, 1, 0, "0.0000"},
        {1, 1, 1, "0.3333"},
        {99999, 1, 0, "0.9999"},
        {1, 2, 5, "0.1250"},
        {1, 0, 9999, "0.0001"},
        {UINT64_MAX, 0, 0, "1.0000"},
        {UINT64_MAX, UINT64_MAX, 0, "0.5000"},
        {1, UINT64_MAX, 0, "0.0000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        page.samples_fragment = cases[i].fragment;
        page.samples_native = cases[i].native;
        page.samples_runtime = cases[i].runtime;
        write_page();
        char expected[60];
        snprintf(expected, sizeof expected, "\"residency\": %s,\n", cases[i].text);
        assert_has(expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty_page_has_every_key, clear_page),
        cmocka_unit_test_setup(test_strings_are_escaped, clear_page),
        cmocka_unit_test_setup(test_every_byte_gives_valid_json, clear_page),
        cmocka_unit_test_setup(test_unterminated_strings_stay_inside, clear_page),
        cmocka_unit_test_setup(test_reasons_are_counted_by_name, clear_page),
        cmocka_unit_test_setup(test_native_samples_by_reason, clear_page),
        cmocka_unit_test_setup(test_reason_names_and_texts, clear_page),
        cmocka_unit_test_setup(test_bailout, clear_page),
        cmocka_unit_test_setup(test_fragments, clear_page),
        cmocka_unit_test_setup(test_gains_of_passes, clear_page),
        cmocka_unit_test_setup(test_numbers_at_their_ends, clear_page),
        cmocka_unit_test_setup(test_residency, clear_page),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
