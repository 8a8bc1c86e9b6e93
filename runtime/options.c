#include "runtime/options.h"

#include "runtime/base/codewrite.h"
#include "runtime/base/fail.h"
#include "runtime/base/mem.h"

enum option_type { TYPE_NUM, TYPE_SIZE, TYPE_ENUM, TYPE_STR };

struct option {
    char name[16];
    enum option_type type;
    size_t offset;
    uint64_t min, max;
    char choices[24];
};

#define TYPE_OF_UNIT(unit) ((unit)[0] ? TYPE_SIZE : TYPE_NUM)
static const struct option table[] = {
#define OPT_NUM(name, field, def, min, max, unit, help)                                                      \
    {#name, TYPE_OF_UNIT(unit), offsetof(struct options, field), min, max, ""},
#define OPT_ENUM(name, field, def, choices, help)                                                            \
    {#name, TYPE_ENUM, offsetof(struct options, field), 0, 0, choices},
#define OPT_STR(name, field, shape, help) {#name, TYPE_STR, offsetof(struct options, field), 0, 0, ""},
#include "runtime/options.def"
#undef OPT_NUM
#undef OPT_ENUM
#undef OPT_STR
};

/* Without the table, which is on a page of its own: most processes need no more than this. */
void options_default(struct options *o)
{
    mem_zero(o, sizeof *o);
#define OPT_NUM(name, field, def, min, max, unit, help) o->field = def;
#define OPT_ENUM(name, field, def, choices, help) o->field = def;
#define OPT_STR(name, field, shape, help)
#include "runtime/options.def"
#undef OPT_NUM
#undef OPT_ENUM
#undef OPT_STR
}

static bool parse_number(const char *v, size_t len, bool size, uint64_t *out)
{
    uint64_t n = 0;
    size_t i = 0;
    for (; i < len && v[i] >= '0' && v[i] <= '9'; i++) {
        if (n > (UINT64_MAX - 9) / 10)
            return false;
        n = n * 10 + (uint64_t)(v[i] - '0');
    }
    if (i == 0)
        return false;
    if (size && i + 1 == len) {
        int shift = v[i] == 'K' ? 10 : v[i] == 'M' ? 20 : v[i] == 'G' ? 30 : 0;
        if (!shift || n > UINT64_MAX >> shift)
            return false;
        n <<= shift;
        i++;
    }
    *out = n;
    return i == len;
}

static bool span_equal(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (a[i] != b[i] || !b[i])
            return false;
    return true;
}

static bool parse_choice(const char *v, size_t len, const char *choices, uint64_t *out)
{
    uint64_t index = 0;
    for (const char *c = choices; *c; index++) {
        size_t n = 0;
        while (c[n] && c[n] != '|')
            n++;
        if (n == len && span_equal(v, c, n)) {
            *out = index;
            return true;
        }
        c += n + (c[n] == '|');
    }
    return false;
}

/* slow or fast, : and a number or `all`, and perhaps : and a number. */
bool options_parse_plant(const char *text, struct plant_spec *out)
{
    const char *word[3] = {"", "", ""};
    size_t len[3] = {0}, n = 0;
    uint64_t kind, id = 0, units = 64;
    if (!text[0]) {
        *out = (struct plant_spec){.kind = PLANT_NONE};
        return true;
    }
#ifdef REHEAT_BREAKS /* the library of tests/e2e/verify.sh: break:NAME, a mistake of tests/fuzz/breaks.h */
    if (span_equal(text, "break:", 6)) {
        *out = (struct plant_spec){.kind = PLANT_NONE};
        return true;
    }
#endif
    for (const char *p = text; *p || p == text; n++) {
        if (n == ARRAY_LEN(word))
            return false;
        word[n] = p;
        while (p[len[n]] && p[len[n]] != ':')
            len[n]++;
        p += len[n] + (p[len[n]] == ':');
    }
    if (n < 2 || text[str_len(text) - 1] == ':' || !parse_choice(word[0], len[0], "slow|fast", &kind))
        return false;
    bool all = len[1] == 3 && span_equal(word[1], "all", 3);
    if (!all && (!parse_number(word[1], len[1], false, &id) || !id || id > UINT32_MAX))
        return false;
    if (n == 3 && (!parse_number(word[2], len[2], false, &units) || !units || units > PLANT_MOST_UNITS))
        return false;
    *out = (struct plant_spec){kind ? PLANT_FAST : PLANT_SLOW, all, (uint32_t)id, (uint32_t)units};
    return true;
}

static bool option_set(struct options *o, const struct option *opt, const char *v, size_t len)
{
    void *field = (char *)o + opt->offset;
    uint64_t n = 0;
    switch (opt->type) {
    case TYPE_NUM:
    case TYPE_SIZE:
        if (!parse_number(v, len, opt->type == TYPE_SIZE, &n) || n < opt->min || n > opt->max)
            return false;
        break;
    case TYPE_ENUM:
        if (!parse_choice(v, len, opt->choices, &n))
            return false;
        break;
    case TYPE_STR:
        if (len >= OPTION_TEXT)
            return false;
        mem_copy(field, v, len);
        ((char *)field)[len] = 0;
        return true;
    }
    *(uint64_t *)field = n;
    return true;
}

static const struct option *option_find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (str_len(table[i].name) == len && span_equal(name, table[i].name, len))
            return &table[i];
    return NULL;
}

static rc_t option_is_bad(const char *text, size_t len, char bad[OPTION_TEXT])
{
    size_t n = len < OPTION_TEXT - 1 ? len : OPTION_TEXT - 1;
    mem_copy(bad, text, n);
    bad[n] = 0;
    return RC_BAD_OPTION;
}

rc_t options_parse(struct options *o, const char *text, char bad[OPTION_TEXT])
{
    while (text && *text) {
        size_t key = 0, all = 0;
        while (text[key] && text[key] != '=' && text[key] != ',')
            key++;
        while (text[all] && text[all] != ',')
            all++;
        const struct option *opt = option_find(text, key);
        if (all && (!opt || text[key] != '=' || !option_set(o, opt, text + key + 1, all - key - 1)))
            return option_is_bad(text, all, bad);
        if (all && opt->offset == offsetof(struct options, fail_spec) && !fail_set(o->fail_spec))
            return option_is_bad(text, all, bad);
        struct plant_spec plant;
        if (all && !options_parse_plant(o->plant, &plant))
            return option_is_bad(text, all, bad);
        text += all + (text[all] == ',');
    }
    code_set_way((enum code_way)o->write);
    return RC_OK;
}
