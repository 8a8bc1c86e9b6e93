/* What lies where in the address space: executable ranges only, from /proc/self/maps (proc(5)).
 *
 * Read at the first question, forgotten by maps_forget() when the program maps, unmaps or protects memory,
 * and read again when a pc is in no known range. Owned by the one thread that is under control.
 *
 *   MAP-1  a range of kind MAP_TEXT is private, file-backed and not writable: its bytes do not change
 *          until a system call says so. Pages of it that we have replaced by changed copies count as what they were. */
#ifndef REHEAT_MAPS_H
#define REHEAT_MAPS_H

#include "runtime/base/rc.h"
#include "runtime/base/types.h"

enum map_kind {
    MAP_NONE, /* not executable, or not mapped */
    MAP_TEXT, /* read-only, file-backed program text */
    MAP_LOADER, /* the dynamic loader's text */
    MAP_VDSO, /* the kernel's page of code */
    MAP_SELF, /* reheat's own text */
    MAP_VOLATILE /* executable, but anonymous or writable: may change at any moment */
};

struct map_range {
    uint64_t start, end; /* addresses */
    uint64_t file_offset; /* of start */
    enum map_kind kind;
    char path[256]; /* as the kernel shows it, cut at 255 bytes */
};

/* Any address inside the dynamic loader, for MAP_LOADER; 0 when there is none. Called once at start. */
void maps_set_loader(uint64_t address);
/* The range that holds pc, or NULL. The pointer holds until the next maps_forget or maps_find. */
const struct map_range *maps_find(struct app_pc pc);
enum map_kind maps_kind(struct app_pc pc);
void maps_forget(void);
/* They were read since. */
bool maps_known(void);
/* True when [start, end) touches a range that code was read from since the last maps_forget. */
bool maps_touches_code(uint64_t start, uint64_t end);

/* This page of text is about to be replaced by a copy of ours, which is not file-backed. False: it is no text, or there are
 * MAPS_REPLACED already. */
#define MAPS_REPLACED 256
bool maps_replace_page(uint64_t page);
bool maps_page_is_replaced(uint64_t page);
/* The file that is mapped at `at` has these bytes there, 512 at most. False: it has others, or cannot be read. */
bool maps_file_has(uint64_t at, const uint8_t *bytes, size_t len);
/* The program maps, unmaps or protects [start, end) itself: what is there then is not ours. Of all memory: what is not there any more
 * after that is not ours. */
void maps_forget_replaced(uint64_t start, uint64_t end);

/* Reads /proc/self/maps anew. */
void maps_read(void);
/* [at, at + bytes) is read-only data of a module whose text is mapped: constants, and addresses that the loader has
 * filled in. As of the last reading. */
bool maps_is_constant(uint64_t at, unsigned bytes);
/* Other processes may write to memory of this one. As of the last reading. */
bool maps_is_shared(void);

/* Parses one line of /proc/self/maps. False when it is not an executable range. For maps.c and its test. */
bool maps_parse_line(const char *line, struct map_range *range);

#endif
