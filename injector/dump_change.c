#include "injector/dump_change.h"

#include <stdio.h>
#include <string.h>

/* Columns of a node's line (runtime/dump.c). */
#define MARK  6
#define FROM  10 /* distance from the fragment's head */
#define BYTES 22 /* of the instruction */
#define WHY   56

static bool read_line(FILE *in, char *line, int size)
{
    if (fgets(line, size, in) == NULL)
        return false;
    line[strcspn(line, "\n")] = 0;
    return true;
}

static bool is_head(const char *line)
{
    return strncmp(line, "----", 4) == 0;
}

/* What a head says besides sizes. */
static size_t head_length(const char *line)
{
    const char *sizes = strstr(line, "  insns ");
    return sizes != NULL ? (size_t)(sizes - line) : strlen(line);
}

/* Offsets within the fragment and numbers of exits move with every change. */
static bool same(const char *a, const char *b)
{
    if (is_head(a) || is_head(b))
        return head_length(a) == head_length(b) && memcmp(a, b, head_length(a)) == 0;
    if (strlen(a) < FROM || strlen(b) < FROM)
        return strcmp(a, b) == 0;
    return a[MARK] == b[MARK] && strcmp(a + FROM, b + FROM) == 0;
}

/* The pass that a line's remark begins with. False: it has none. */
static bool pass_of(const char *line, char *pass, size_t size)
{
    if (is_head(line) || strlen(line) <= WHY)
        return false;
    const char *why = line + BYTES; /* the bytes may reach into the remark's column */
    why += strspn(why, "0123456789abcdef ");
    while (why > line + BYTES && why[-1] != ' ')
        why--;
    size_t length = strcspn(why, ":");
    if (why[length] == 0 || length == 0 || length >= size)
        return false;
    memcpy(pass, why, length);
    pass[length] = 0;
    return true;
}

/* The same instruction of the program. */
static bool same_place(const char *a, const char *b)
{
    return !is_head(a) && !is_head(b) && strlen(a) >= BYTES && strlen(b) >= BYTES &&
           memcmp(a + FROM, b + FROM, BYTES - FROM) == 0;
}

static bool find(FILE *with, FILE *without, struct dump_change *out)
{
    char a[1024], b[1024];
    while (read_line(with, a, sizeof a)) {
        if (is_head(a))
            snprintf(out->fragment, sizeof out->fragment, "%.*s", (int)sizeof out->fragment - 1,
                     a + strcspn(a, "0123456789"));
        if (!read_line(without, b, sizeof b))
            return false;
        if (same(a, b))
            continue;
        snprintf(out->node, sizeof out->node, "%.*s", (int)sizeof out->node - 1, a + strspn(a, " "));
        return same_place(a, b) && pass_of(a, out->pass, sizeof out->pass);
    }
    return false;
}

bool dump_change_find(const char *with, const char *without, struct dump_change *out)
{
    *out = (struct dump_change){0};
    FILE *a = fopen(with, "re"), *b = fopen(without, "re");
    bool found = a != NULL && b != NULL && find(a, b, out);
    if (a != NULL)
        fclose(a);
    if (b != NULL)
        fclose(b);
    return found;
}
