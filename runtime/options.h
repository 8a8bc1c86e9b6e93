/* Settings, from REHEAT=key=value,... The table is options.def. */
#ifndef REHEAT_OPTIONS_H
#define REHEAT_OPTIONS_H

#include "runtime/base/rc.h"
#include "runtime/base/types.h"

#define OPTION_TEXT 256

enum control { CONTROL_OFF, CONTROL_FULL, CONTROL_SAMPLED };

/* The setting plant=: who does work on purpose that is of no use. */
enum plant_kind { PLANT_NONE, PLANT_SLOW, PLANT_FAST };
#define PLANT_MOST_UNITS 4096

struct plant_spec {
    enum plant_kind kind;
    bool all; /* fragments, or the one with this id: */
    uint32_t id, units;
};

struct options {
#define OPT_NUM(name, field, default_, min, max, unit, help) uint64_t field;
#define OPT_ENUM(name, field, default_, choices, help) uint64_t field;
#define OPT_STR(name, field, shape, help) char field[OPTION_TEXT];
#include "runtime/options.def"
#undef OPT_NUM
#undef OPT_ENUM
#undef OPT_STR
};

void options_default(struct options *o);
/* plant=, from its text. False: it is malformed, *out is unchanged. Empty: PLANT_NONE. */
bool options_parse_plant(const char *text, struct plant_spec *out);
/* Parses `text` (NULL: no settings). On RC_BAD_OPTION `bad` holds the offending key=value, terminated. `write` and `fail`
 * take effect at once: runtime/base, whose business they are, knows no options. */
rc_t options_parse(struct options *o, const char *text, char bad[OPTION_TEXT]);

#endif
