/* Settings, from REHEAT=key=value,... The table is options.def. */
#ifndef REHEAT_OPTIONS_H
#define REHEAT_OPTIONS_H

#include "runtime/base/rc.h"
#include "runtime/base/types.h"

#define OPTION_TEXT 256

enum control { CONTROL_OFF, CONTROL_FULL, CONTROL_SAMPLED };

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
/* Parses `text` (NULL: no settings). On RC_BAD_OPTION `bad` holds the offending key=value, terminated. `write` and `fail`
 * take effect at once: runtime/base, whose business they are, knows no options. */
rc_t options_parse(struct options *o, const char *text, char bad[OPTION_TEXT]);

#endif
