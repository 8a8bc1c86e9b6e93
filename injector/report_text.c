#include "injector/report_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/* A label in the first column; the values of all lines start in the same one. */
static void print_label(FILE *out, const char *label)
{
    fprintf(out, "%-18s", label);
}

static void print_count(FILE *out, const char *label, uint64_t n)
{
    print_label(out, label);
    fprintf(out, "%12" PRIu64 "\n", n);
}

static double seconds(uint64_t ns)
{
    return (double)ns / 1e9;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0.0;
}

/* Names come out of another process: keep its control characters off the terminal. */
static void print_name(FILE *out, const char *name)
{
    for (; *name; name++)
        fputc(iscntrl((unsigned char)*name) ? '?' : *name, out);
}

static const char *sampler_text(uint32_t sampler)
{
    switch (sampler) {
    case PROTO_SAMPLER_NONE: return "none";
    case PROTO_SAMPLER_PERF_HW: return "perf cycles";
    case PROTO_SAMPLER_PERF_CLOCK: return "perf cpu-clock";
    case PROTO_SAMPLER_TIMER: return "timer ticks";
    default: return "unknown";
    }
}

static const char *phase_text(uint32_t phase)
{
    switch (phase) {
    case PROTO_PHASE_LOOK: return "looks for paths that are hot";
    case PROTO_PHASE_GATHER: return "takes samples of what it found";
    case PROTO_PHASE_TRIAL: return "measures what it found";
    case PROTO_PHASE_REST: return "rests";
    default: return "unknown";
    }
}

/* Word number `index` of the control option's choices. */
static void print_control(FILE *out, uint32_t index)
{
    const char *word = "";
#define OPT_NUM(name, field, def, min, max, unit, help)
#define OPT_ENUM(name, field, def, choices, help)                                                            \
    if (strcmp(#name, "control") == 0)                                                                       \
        word = choices;
#define OPT_STR(name, field, shape, help)
#include "runtime/options.def"
#undef OPT_NUM
#undef OPT_ENUM
#undef OPT_STR
    for (; index > 0 && *word; index--) {
        word += strcspn(word, "|");
        word += *word == '|';
    }
    fprintf(out, "control=%.*s", (int)strcspn(word, "|"), word);
}

static void format_reason(unsigned rc, char *text, size_t size)
{
    const char *reason = proto_reason_text(rc);
    if (reason != NULL)
        snprintf(text, size, "%s", reason);
    else
        snprintf(text, size, "reason %u, which this version does not know", rc);
}

static void print_header(FILE *out, const struct proto_page *page, bool running)
{
    fputs("reheat " REHEAT_VERSION ": ", out);
    print_name(out, page->exe[0] ? page->exe : "unknown program");
    fprintf(out, ", process %" PRIu32 ", %s, ", page->pid, running ? "running" : "ended");
    print_control(out, page->control);
    fputs("\n\n", out);
}

/* Of native samples: what keeps them out of fragments. */
static void print_why(FILE *out, const struct proto_page *page, uint64_t total)
{
    for (unsigned rc = 1; rc < PROTO_REASONS; rc++) {
        char text[120];
        if (page->samples_why[rc] == 0)
            continue;
        format_reason(rc, text, sizeof text);
        print_label(out, "");
        fprintf(out, "%12.2f %%  native: %s\n", percent(page->samples_why[rc], total), text);
    }
}

static void print_time(FILE *out, const struct proto_page *page)
{
    uint64_t total = page->samples_fragment + page->samples_native + page->samples_runtime;
    print_label(out, "CPU time");
    fprintf(out, "%12.3f s\n", seconds(page->cpu_ns));
    print_label(out, "in the runtime");
    fprintf(out, "%12.3f s  %.2f %%\n", seconds(page->runtime_ns), percent(page->runtime_ns, page->cpu_ns));
    print_label(out, "residency");
    if (total > 0)
        fprintf(out, "%12.2f %%  of samples inside fragments\n", percent(page->samples_fragment, total));
    else
        fprintf(out, "%12s    no samples\n", "-");
    print_label(out, "samples");
    fprintf(out,
            "%12" PRIu64 "    %" PRIu64 " fragment, %" PRIu64 " native, %" PRIu64 " runtime, %" PRIu64
            " lost\n",
            total, page->samples_fragment, page->samples_native, page->samples_runtime, page->samples_lost);
    print_why(out, page, total);
    print_label(out, "sampler");
    fprintf(out, "%12s    %s", "", sampler_text(page->sampler));
    if (page->sampler_rate != 0)
        fprintf(out, ", now %" PRIu32 " per second", page->sampler_rate);
    if (page->sampler_reason != 0) {
        char text[120];
        format_reason(page->sampler_reason, text, sizeof text);
        fprintf(out, " (%s)", text);
    }
    fputc('\n', out);
    if (page->phase == 0 || page->running == 0)
        return;
    print_label(out, "phase");
    fprintf(out, "%12s    %s\n", "", phase_text(page->phase));
}

static void print_gain(FILE *out, const char *name, const struct proto_gain *g, bool tried)
{
    if (!g->fragments)
        return;
    print_label(out, "");
    fprintf(out, "%12" PRIu64 "    %s", g->fragments, name);
    if (tried && g->measured_ppm)
        fprintf(out, ": %.2f %% measured against variants without it", (double)g->measured_ppm / 1e4);
    if (tried && g->shared_ppm)
        fprintf(out, "%s %.2f %% its share of what was measured together", g->measured_ppm ? "," : ":",
                (double)g->shared_ppm / 1e4);
    fputc('\n', out);
}

/* Which pass gave what. */
static void print_gains(FILE *out, const struct proto_page *page)
{
    bool tried = page->trials[1] != 0, any = page->layout.fragments != 0;
    for (unsigned i = 0; proto_pass_name(i); i++)
        any |= page->gains[i].fragments != 0;
    if (!any)
        return;
    print_label(out, "kept, by pass");
    fprintf(out, "%12s    fragments that it changed%s\n", "", tried ? ", and its gain in CPU time" : "");
    for (unsigned i = 0; proto_pass_name(i); i++)
        print_gain(out, proto_pass_name(i), &page->gains[i], tried);
    print_gain(out, "layout alone", &page->layout, tried);
}

static void print_trials(FILE *out, const struct proto_page *page)
{
    if (page->trials[0] + page->trials[1] + page->trials[2] + page->trials[3] == 0)
        return;
    print_label(out, "trials");
    fprintf(out, "%12" PRIu64 "    kept, %" PRIu64 " slower, %" PRIu64 " neutral, %" PRIu64 " undecided\n", page->trials[1],
            page->trials[2], page->trials[3], page->trials[0]);
    print_label(out, "estimated gain");
    if (page->trials[1])
        fprintf(out, "%12.2f %%  of CPU time, by the trials of what was kept\n", (double)page->gain_ppm / 1e4);
    else
        fprintf(out, "%12s    nothing was kept\n", "-");
}

static void print_reasons(FILE *out, const uint64_t count[PROTO_REASONS])
{
    for (unsigned rc = 1; rc < PROTO_REASONS; rc++) {
        char text[120];
        if (count[rc] == 0)
            continue;
        format_reason(rc, text, sizeof text);
        print_label(out, "");
        fprintf(out, "%12" PRIu64 "    %s\n", count[rc], text);
    }
}

static void print_traces(FILE *out, const struct proto_page *page)
{
    uint64_t declined = 0;
    for (unsigned rc = 1; rc < PROTO_REASONS; rc++)
        declined += page->traces_declined[rc];
    print_count(out, "traces recorded", page->traces_recorded);
    print_count(out, "traces declined", declined);
    print_reasons(out, page->traces_declined);
}

/* What hooks exist only for: control=sampled. */
static void print_hooks(FILE *out, const struct proto_page *page)
{
    static const char *const tactics[PROTO_TACTICS] = {"long", "pun", "several"};
    uint64_t refused = 0;
    print_label(out, "hooks");
    fprintf(out, "%12" PRIu64 "    live; set:", page->hooks);
    for (int t = 0; t < PROTO_TACTICS; t++)
        fprintf(out, "%s %" PRIu64 " %s", t ? "," : "", page->hooks_set[t], tactics[t]);
    if (page->hooks_stuck || page->hook_traps)
        fprintf(out, "; %" PRIu64 " stuck, %" PRIu64 " traps", page->hooks_stuck, page->hook_traps);
    fputc('\n', out);
    for (unsigned rc = 1; rc < PROTO_REASONS; rc++)
        refused += page->hooks_refused[rc];
    if (refused > 0)
        print_count(out, "hooks refused", refused);
    print_reasons(out, page->hooks_refused);
}

static void print_code(FILE *out, const struct proto_page *page)
{
    static const char *const ways[] = {"nothing written", "/proc/self/mem", "replaced pages",
                                       "/proc/self/mem, then replaced pages"};
    print_label(out, "code written by");
    fprintf(out, "%12s    %s\n", "", page->write_ways < 4 ? ways[page->write_ways] : "?");
    if (page->faults > 0)
        print_count(out, "scripted failures", page->faults);
}

static void print_verified(FILE *out, const struct proto_page *page)
{
    if (!page->verified && !page->verify_skipped && !page->mismatches)
        return;
    print_label(out, "verified");
    fprintf(out, "%12" PRIu64 "    entries; %" PRIu64 " could not be compared, %" PRIu64 " differ", page->verified,
            page->verify_skipped, page->mismatches);
    if (page->mismatches)
        fprintf(out, ", first of fragment %" PRIu32 "; changed by", page->mismatch_id);
    for (unsigned i = 0; proto_pass_name(i); i++)
        if (page->mismatch_passes >> i & 1)
            fprintf(out, " %s", proto_pass_name(i));
    fputc('\n', out);
}

static void print_fragments(FILE *out, const struct proto_page *page)
{
    print_label(out, "fragments");
    fprintf(out, "%12" PRIu64 "    live; %" PRIu64 " emitted, %" PRIu64 " retired, %" PRIu64 " flushes\n",
            page->fragments_live, page->fragments_emitted, page->fragments_retired, page->flushes);
    print_count(out, "links", page->links);
    print_hooks(out, page);
    print_label(out, "instructions");
    fprintf(out, "%12" PRIu64 "    recorded, %" PRIu64 " after optimization (%+.1f %%)\n", page->insns_in,
            page->insns_out, page->insns_in ? percent(page->insns_out, page->insns_in) - 100.0 : 0.0);
    print_label(out, "cache");
    fprintf(out, "%12" PRIu64 "    bytes of %" PRIu64 " (%.1f %%)\n", page->cache_used, page->cache_capacity,
            percent(page->cache_used, page->cache_capacity));
    print_code(out, page);
    print_label(out, "dispatch");
    fprintf(out,
            "%12" PRIu64 "    block runs, %" PRIu64 " fragment runs, %" PRIu64 " blocks, %" PRIu64
            " lookup misses\n",
            page->block_runs, page->fragment_runs, page->blocks, page->lookup_misses);
    print_verified(out, page);
    print_label(out, "bail-out");
    if (page->bailout_reason == 0) {
        fprintf(out, "%12s\n", "no");
        return;
    }
    char text[120];
    format_reason(page->bailout_reason, text, sizeof text);
    fprintf(out, "%12s    after %.3f s of CPU time: %s\n", "yes", seconds(page->bailout_cpu_ns), text);
}

static void print_fragment(FILE *out, const struct proto_fragment *f, uint64_t samples)
{
    static const char *const kinds[] = {"loop", "straight"};
    static const char *const states[] = {"-", "live", "retired"};
    char insns[32], bytes[32];
    snprintf(insns, sizeof insns, "%" PRIu32 " > %" PRIu32, f->insns_in, f->insns_out);
    snprintf(bytes, sizeof bytes, "%" PRIu32 " > %" PRIu32, f->bytes_in, f->bytes_out);
    fprintf(out, "%6" PRIu32 " %10" PRIu64 " %6.2f %12" PRIu64 "  %-8s %-8s %13s %15s  ", f->id, f->samples,
            percent(f->samples, samples), f->entries, f->kind < 2 ? kinds[f->kind] : "?",
            f->state < 3 ? states[f->state] : "?", insns, bytes);
    print_name(out, f->module[0] ? f->module : "?");
    fprintf(out, "+0x%" PRIx64, f->offset);
    if (f->symbol[0]) {
        fputs("  ", out);
        print_name(out, f->symbol);
    }
    if (f->state == PROTO_FRAG_RETIRED && f->why != 0) {
        char text[120];
        format_reason(f->why, text, sizeof text);
        fprintf(out, "  (%s)", text);
    }
    fputc('\n', out);
}

void report_print_text(FILE *out, const struct proto_page *page, bool running)
{
    uint64_t samples = page->samples_fragment + page->samples_native + page->samples_runtime;
    bool any = false;
    print_header(out, page, running);
    print_time(out, page);
    print_trials(out, page);
    print_gains(out, page);
    print_traces(out, page);
    print_fragments(out, page);
    for (size_t i = 0; i < PROTO_TOP; i++) {
        if (page->top[i].id == 0)
            continue;
        if (!any)
            fprintf(out, "\n%6s %10s %6s %12s  %-8s %-8s %13s %15s  %s\n", "id", "samples", "%", "entries",
                    "kind", "state", "instructions", "bytes", "where");
        any = true;
        print_fragment(out, &page->top[i], samples);
    }
}
