/* Result codes. Every function that can fail returns rc_t; the compiler flags an ignored one.
 * The ids, what each gives up (decline, retire, bail) and the text a person reads are in reasons.def. */
#ifndef REHEAT_RC_H
#define REHEAT_RC_H

typedef enum [[nodiscard]] rc {
    RC_OK,
#define REASON(id, level, text) id,
#include "runtime/base/reasons.def"
#undef REASON
    RC_COUNT
} rc_t;

enum rc_level { RC_LEVEL_ok, RC_LEVEL_decline, RC_LEVEL_retire, RC_LEVEL_bail };

#define TRY(e)                                                                                               \
    do {                                                                                                     \
        rc_t rc_ = (e);                                                                                      \
        if (rc_ != RC_OK)                                                                                    \
            return rc_;                                                                                      \
    } while (0)

#endif
