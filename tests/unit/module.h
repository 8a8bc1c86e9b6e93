/* A made-up ELF file, mapped as a loader would: page 0 headers, pages 1 and 2 text, page 3 unwind tables, rseq
 * descriptors and section headers. For tests of what is asked of the program's own text. */
#ifndef REHEAT_UNIT_MODULE_H
#define REHEAT_UNIT_MODULE_H

#include "fragcache/site.h"
#include "tests/unit/unit.h"

#define PAGE 4096u
#define MODULE_NO_SECTIONS 1u /* no section headers */
#define MODULE_RSEQ 2u /* a critical section: text bytes 16 to 31, abort handler at 64 */
#define MODULE_LANDING_PADS 4u /* every function has an LSDA */
#define MODULE_UNLINKED 8u /* its file is gone before anybody looks */
#define MODULE_KEPT 16u /* its file stays until module_forget_file */

extern uint64_t module_text; /* address of the text of the module loaded last */
extern uint8_t module_image[4 * PAGE];

/* Forgets the code; what is not written is int3. */
void module_clear(void);
/* Writes code at an offset of the text. */
void module_code(size_t at, const char *hex);
/* Maps it at an address of its own. `bounds`: offsets in the text where functions begin and end, ended by 0, 0. */
void module_load(const unsigned (*bounds)[2], unsigned flags);
void module_forget_file(void);

extern const unsigned module_one_function[2][2]; /* bounds: all of the text that code is written to */
/* A module that is one function at 0 of the given bytes, and nothing else. */
void module_load_function(const char *hex);
/* What site_check says of an offset in the text. */
rc_t module_ask_site(unsigned at, const struct site_ask *ask);

#endif
