/* The report as JSON, and the names of the reasons.
 *
 * Compiled into the preload library and into the reheat program: no libc, no allocation, no floating point.
 * Text is gathered on the stack, so `put` is called with pieces worth a system call.
 * A live page changes while it is read: strings are bounded by their arrays, and indexes are checked.
 */
#include "runtime/proto.h"

#include <stdbool.h>

/* Arrays, not pointers, which the loader would have to relocate in every process; so are the tables below. */
static const struct {
    char name[24], text[112];
} reasons[] = {
    {"", ""}, /* RC_OK */
#define REASON(id, level, text) {#id, text},
#include "runtime/base/reasons.def"
#undef REASON
};

#define REASON_COUNT (sizeof reasons / sizeof reasons[0])
_Static_assert(REASON_COUNT <= PROTO_REASONS, "the stat page has a counter for every reason");

const char *proto_reason_name(unsigned rc)
{
    return rc > 0 && rc < REASON_COUNT ? reasons[rc].name + sizeof "RC_" - 1 : NULL;
}

const char *proto_reason_text(unsigned rc)
{
    return rc > 0 && rc < REASON_COUNT ? reasons[rc].text : NULL;
}

/* One member for each enumerated option: its choices. */
static const struct {
#define OPT_NUM(name, field, def, min, max, unit, help)
#define OPT_ENUM(name, field, def, choices, help) char name[sizeof choices];
#define OPT_STR(name, field, shape, help)
#include "runtime/options.def"
#undef OPT_ENUM
} option_choices = {
#define OPT_ENUM(name, field, def, choices, help) .name = choices,
#include "runtime/options.def"
#undef OPT_NUM
#undef OPT_ENUM
#undef OPT_STR
};

struct writer {
    proto_put *put;
    void *arg;
    size_t used;
    unsigned depth; /* of open objects and arrays; members of the outermost get a line each */
    bool first;     /* no comma before the next member */
    char text[512];
};

static void wr_flush(struct writer *w)
{
    if (w->used > 0)
        w->put(w->arg, w->text, w->used);
    w->used = 0;
}

static void wr_char(struct writer *w, char c)
{
    /* cppcheck-suppress ctuuninitvar ; all but the text is set in proto_write_json */
    if (w->used == sizeof w->text)
        wr_flush(w);
    w->text[w->used++] = c;
}

static void wr_text(struct writer *w, const char *text)
{
    for (; *text; text++)
        wr_char(w, *text);
}

static void wr_unsigned(struct writer *w, uint64_t n)
{
    char digits[20];
    unsigned count = 0;
    do
        digits[count++] = (char)('0' + n % 10);
    while (n /= 10);
    while (count > 0)
        wr_char(w, digits[--count]);
}

static void wr_hex(struct writer *w, uint64_t n, unsigned min_digits)
{
    unsigned digits = 16;
    while (digits > min_digits && n >> (4 * (digits - 1)) == 0)
        digits--;
    while (digits-- > 0)
        wr_char(w, "0123456789abcdef"[n >> (4 * digits) & 15]);
}

/* `digits` decimals of rest / whole, truncated, so that a share never reads higher than it is.
 * Needs rest < whole <= UINT64_MAX / 10. */
static void wr_decimals(struct writer *w, uint64_t rest, uint64_t whole, unsigned digits)
{
    while (digits-- > 0) {
        rest *= 10;
        wr_char(w, (char)('0' + rest / whole));
        rest %= whole;
    }
}

/* Length of the well-formed UTF-8 sequence of two or more bytes at s, or 0. (Unicode 15, table 3-7) */
static unsigned utf8_length(const unsigned char *s, size_t left)
{
    unsigned length = s[0] < 0xc2 || s[0] > 0xf4 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (length == 0 || length > left)
        return 0;
    for (unsigned i = 1; i < length; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xf0 && s[1] < 0x90);
    bool surrogate = s[0] == 0xed && s[1] > 0x9f;
    bool beyond = s[0] == 0xf4 && s[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : length;
}

static void wr_escaped(struct writer *w, unsigned char byte)
{
    if (byte < 0x20 || byte >= 0x7f) {
        wr_text(w, "\\u");
        wr_hex(w, byte, 4);
        return;
    }
    if (byte == '"' || byte == '\\')
        wr_char(w, '\\');
    wr_char(w, (char)byte);
}

/* Quoted; ends at the terminator or at `size`, whichever comes first. */
static void wr_string(struct writer *w, const char *text, size_t size)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t length = 0;
    while (length < size && s[length] != 0)
        length++;
    wr_char(w, '"');
    for (size_t i = 0; i < length;) {
        unsigned sequence = utf8_length(s + i, length - i);
        if (sequence == 0)
            wr_escaped(w, s[i++]);
        for (; sequence > 0; sequence--)
            wr_char(w, (char)s[i++]);
    }
    wr_char(w, '"');
}

static void js_separate(struct writer *w)
{
    if (!w->first)
        wr_char(w, ',');
    if (w->depth == 1)
        wr_text(w, "\n  ");
    else if (!w->first)
        wr_char(w, ' ');
    w->first = false;
}

static void js_key(struct writer *w, const char *key)
{
    js_separate(w);
    wr_char(w, '"');
    wr_text(w, key);
    wr_text(w, "\": ");
}

static void js_open(struct writer *w, char bracket)
{
    wr_char(w, bracket);
    w->depth++;
    w->first = true;
}

static void js_close(struct writer *w, char bracket)
{
    wr_char(w, bracket);
    w->depth--;
    w->first = false;
}

static void js_object(struct writer *w, const char *key)
{
    js_key(w, key);
    js_open(w, '{');
}

static void js_unsigned(struct writer *w, const char *key, uint64_t n)
{
    js_key(w, key);
    wr_unsigned(w, n);
}

static void js_null(struct writer *w, const char *key)
{
    js_key(w, key);
    wr_text(w, "null");
}

static void js_string(struct writer *w, const char *key, const char *text, size_t size)
{
    js_key(w, key);
    if (text[0] != 0)
        wr_string(w, text, size);
    else
        wr_text(w, "null");
}

static void js_seconds(struct writer *w, const char *key, uint64_t ns)
{
    js_key(w, key);
    wr_unsigned(w, ns / 1000000000);
    wr_char(w, '.');
    wr_decimals(w, ns % 1000000000, 1000000000, 6);
}

/* The name in lower case, quoted. A page of a newer library may hold reasons that have no name here. */
static void wr_reason(struct writer *w, unsigned rc)
{
    const char *name = proto_reason_name(rc);
    wr_char(w, '"');
    for (; name != NULL && *name; name++)
        wr_char(w, *name >= 'A' && *name <= 'Z' ? (char)(*name | 0x20) : *name); /* NOLINT(bugprone-narrowing-conversions) */
    if (name == NULL) {
        wr_text(w, "reason_");
        wr_unsigned(w, rc);
    }
    wr_char(w, '"');
}

static void js_reason(struct writer *w, const char *key, unsigned rc)
{
    js_key(w, key);
    if (rc != 0)
        wr_reason(w, rc);
    else
        wr_text(w, "null");
}

/* Word number `index` of a |-separated list, or null. */
static void js_choice(struct writer *w, const char *key, const char *choices, unsigned index)
{
    for (; index > 0 && *choices; choices++)
        if (*choices == '|')
            index--;
    size_t length = 0;
    while (choices[length] && choices[length] != '|')
        length++;
    js_string(w, key, choices, length);
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX : a + b;
}

static void js_residency(struct writer *w, const struct proto_page *page)
{
    uint64_t inside = page->samples_fragment, native = page->samples_native, own = page->samples_runtime;
    /* Room for the sum of three and for the factor of ten; only absurd counts lose their low bits. */
    for (; (inside | native | own) >> 58; own >>= 1) {
        inside >>= 1;
        native >>= 1;
    }
    uint64_t total = inside + native + own;
    if (total == 0) {
        js_null(w, "residency");
        return;
    }
    js_key(w, "residency");
    wr_unsigned(w, inside / total);
    wr_char(w, '.');
    wr_decimals(w, inside % total, total, 4);
}

/* Counts that are not zero, by the name of their reason. */
static void js_by_reason(struct writer *w, const char *key, const uint64_t count[PROTO_REASONS])
{
    js_object(w, key);
    for (unsigned rc = 1; rc < PROTO_REASONS; rc++) {
        if (count[rc] == 0)
            continue;
        js_separate(w);
        wr_reason(w, rc);
        wr_text(w, ": ");
        wr_unsigned(w, count[rc]);
    }
    js_close(w, '}');
}

static void js_samples(struct writer *w, const struct proto_page *page)
{
    uint64_t total = add_saturated(page->samples_fragment, page->samples_native);
    js_object(w, "samples");
    js_unsigned(w, "total", add_saturated(total, page->samples_runtime));
    js_unsigned(w, "fragment", page->samples_fragment);
    js_unsigned(w, "native", page->samples_native);
    js_unsigned(w, "runtime", page->samples_runtime);
    js_by_reason(w, "native_why", page->samples_why);
    js_close(w, '}');
}

static void js_traces(struct writer *w, const struct proto_page *page)
{
    js_object(w, "traces");
    js_unsigned(w, "recorded", page->traces_recorded);
    js_by_reason(w, "declined", page->traces_declined);
    js_close(w, '}');
}

static void js_hooks(struct writer *w, const struct proto_page *page)
{
    static const char names[PROTO_TACTICS][8] = {"long", "pun", "several"};
    js_object(w, "hook_tactics");
    for (int t = 0; t < PROTO_TACTICS; t++) {
        js_object(w, names[t]);
        js_unsigned(w, "set", page->hooks_set[t]);
        js_unsigned(w, "live", page->hooks_live[t]);
        js_close(w, '}');
    }
    js_close(w, '}');
    js_by_reason(w, "hooks_refused", page->hooks_refused);
    js_unsigned(w, "hooks_stuck", page->hooks_stuck);
    js_unsigned(w, "hook_traps", page->hook_traps);
}

static void js_bailout(struct writer *w, const struct proto_page *page)
{
    js_object(w, "bailout");
    js_key(w, "happened");
    wr_text(w, page->bailout_reason ? "true" : "false");
    js_reason(w, "reason", page->bailout_reason);
    if (page->bailout_reason)
        js_seconds(w, "at_cpu_seconds", page->bailout_cpu_ns);
    else
        js_null(w, "at_cpu_seconds");
    js_close(w, '}');
}

/* Millionths, with four decimals. */
static void js_fraction(struct writer *w, const char *key, int64_t ppm)
{
    uint64_t size = ppm < 0 ? 0 - (uint64_t)ppm : (uint64_t)ppm;
    js_key(w, key);
    if (ppm < 0)
        wr_char(w, '-');
    wr_unsigned(w, size / 1000000);
    wr_char(w, '.');
    wr_decimals(w, size % 1000000, 1000000, 4);
}

static const char passes[][16] = {
#define PASS(name, text) #name,
#include "optimizer/passes.def"
#undef PASS
};

const char *proto_pass_name(unsigned pass)
{
    return pass < sizeof passes / sizeof *passes ? passes[pass] : NULL;
}

static void js_verify(struct writer *w, const struct proto_page *page)
{
    js_object(w, "verify");
    js_unsigned(w, "entries", page->verified);
    js_unsigned(w, "skipped", page->verify_skipped);
    js_unsigned(w, "mismatches", page->mismatches);
    if (page->mismatches)
        js_unsigned(w, "fragment", page->mismatch_id);
    else
        js_null(w, "fragment");
    js_object(w, "passes");
    for (unsigned i = 0; proto_pass_name(i); i++)
        js_unsigned(w, passes[i], page->mismatch_passes >> i & 1);
    js_close(w, '}');
    js_close(w, '}');
}

static void js_gain(struct writer *w, const char *key, const struct proto_gain *g, bool tried)
{
    js_object(w, key);
    js_unsigned(w, "fragments", g->fragments);
    if (tried) {
        js_fraction(w, "measured", g->measured_ppm);
        js_fraction(w, "shared", g->shared_ppm);
    } else {
        js_null(w, "measured");
        js_null(w, "shared");
    }
    js_close(w, '}');
}

static void js_gains(struct writer *w, const struct proto_page *page)
{
    bool tried = page->trials[1] != 0;
    js_object(w, "pass_gains");
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        js_gain(w, passes[i], &page->gains[i], tried);
    js_gain(w, "layout", &page->layout, tried);
    js_close(w, '}');
}

static void js_trials(struct writer *w, const struct proto_page *page)
{
    static const char *const verdicts[] = {"undecided", "kept", "slower", "neutral"};
    js_object(w, "trials");
    for (unsigned i = 0; i < 4; i++)
        js_unsigned(w, verdicts[i], page->trials[i]);
    js_close(w, '}');
    if (page->trials[1])
        js_fraction(w, "gain", page->gain_ppm);
    else
        js_null(w, "gain");
    js_unsigned(w, "slices", page->slices);
    js_seconds(w, "slice_seconds", page->slice_ns);
    js_object(w, "passes");
    for (size_t i = 0; i < sizeof passes / sizeof *passes; i++)
        js_unsigned(w, passes[i], page->changes[i]);
    js_close(w, '}');
    js_gains(w, page);
}

static void js_fragment(struct writer *w, const struct proto_fragment *f)
{
    js_separate(w);
    wr_text(w, "\n    ");
    js_open(w, '{');
    js_unsigned(w, "id", f->id);
    js_string(w, "module", f->module, sizeof f->module);
    js_key(w, "offset");
    wr_text(w, "\"0x");
    wr_hex(w, f->offset, 1);
    wr_char(w, '"');
    js_string(w, "symbol", f->symbol, sizeof f->symbol);
    js_choice(w, "kind", "loop|straight", f->kind);
    js_unsigned(w, "insns_in", f->insns_in);
    js_unsigned(w, "insns_out", f->insns_out);
    js_unsigned(w, "bytes_in", f->bytes_in);
    js_unsigned(w, "bytes_out", f->bytes_out);
    js_unsigned(w, "samples", f->samples);
    js_unsigned(w, "entries", f->entries);
    js_choice(w, "state", "empty|live|retired", f->state);
    if (f->gain_error_ppm)
        js_fraction(w, "gain", f->gain_ppm);
    else
        js_null(w, "gain");
    js_reason(w, "why", f->state == PROTO_FRAG_RETIRED ? f->why : 0);
    js_close(w, '}');
}

static void js_counters(struct writer *w, const struct proto_page *page)
{
    js_object(w, "fragments");
    js_unsigned(w, "live", page->fragments_live);
    js_unsigned(w, "emitted", page->fragments_emitted);
    js_unsigned(w, "retired", page->fragments_retired);
    js_unsigned(w, "flushes", page->flushes);
    js_close(w, '}');
    js_unsigned(w, "links", page->links);
    js_unsigned(w, "hooks", page->hooks);
    js_hooks(w, page);
    js_object(w, "cache");
    js_unsigned(w, "bytes", page->cache_used);
    js_unsigned(w, "capacity", page->cache_capacity);
    js_close(w, '}');
}

void proto_write_json(const struct proto_page *page, proto_put *put, void *arg)
{
    struct writer w;
    w.put = put; /* not an initializer: it would clear the buffer through memset */
    w.arg = arg;
    w.used = w.depth = 0;
    js_open(&w, '{');
    js_string(&w, "version", REHEAT_VERSION, sizeof REHEAT_VERSION);
    js_unsigned(&w, "pid", page->pid);
    js_string(&w, "exe", page->exe, sizeof page->exe);
    js_choice(&w, "control", option_choices.control, page->control);
    js_seconds(&w, "cpu_seconds", page->cpu_ns);
    js_seconds(&w, "runtime_seconds", page->runtime_ns);
    js_residency(&w, page);
    js_samples(&w, page);
    js_traces(&w, page);
    js_counters(&w, page);
    js_bailout(&w, page);
    js_key(&w, "top");
    js_open(&w, '[');
    for (size_t i = 0; i < PROTO_TOP; i++)
        if (page->top[i].id != 0)
            js_fragment(&w, &page->top[i]);
    js_close(&w, ']');
    js_unsigned(&w, "blocks", page->blocks);
    js_unsigned(&w, "block_runs", page->block_runs);
    js_unsigned(&w, "fragment_runs", page->fragment_runs);
    js_unsigned(&w, "lookup_misses", page->lookup_misses);
    js_object(&w, "insns");
    js_unsigned(&w, "in", page->insns_in);
    js_unsigned(&w, "out", page->insns_out);
    js_close(&w, '}');
    js_choice(&w, "sampler", "none|perf_hw|perf_clock|timer", page->sampler);
    js_reason(&w, "sampler_reason", page->sampler_reason);
    js_unsigned(&w, "sampler_rate", page->sampler_rate);
    js_choice(&w, "phase", "none|look|gather|trial|rest", page->phase);
    js_choice(&w, "write", "|mem|page|both", page->write_ways);
    js_unsigned(&w, "faults", page->faults);
    js_verify(&w, page);
    js_trials(&w, page);
    wr_text(&w, "\n}\n");
    wr_flush(&w);
}
