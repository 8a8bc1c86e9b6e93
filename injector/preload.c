#define _GNU_SOURCE /* asprintf */
#include "injector/preload.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "injector/message.h"

#define LIBRARY "libreheat.so"
#define NO_SETUP(...) message_fail(EXIT_SETUP, __VA_ARGS__)

static bool is_library(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, R_OK) == 0;
}

/* The loader splits LD_PRELOAD at colons and blanks and has no way to quote them. */
static int check_loadable(const char *path)
{
    if (strpbrk(path, ": ") == NULL)
        return EXIT_DONE;
    return NO_SETUP("LD_PRELOAD cannot hold a path with a colon or a blank, and the library is '%s'; "
                    "move it, or set REHEAT_LIBRARY to a link to it",
                    path);
}

int preload_find_library(char path[PATH_MAX])
{
    const char *named = getenv("REHEAT_LIBRARY");
    if (named != NULL && *named != 0) {
        char here[PATH_MAX] = "";
        if (named[0] != '/' && getcwd(here, sizeof here) == NULL)
            return NO_SETUP("cannot tell the current directory: %s", strerror(errno));
        if (!is_library(named))
            return NO_SETUP("REHEAT_LIBRARY names '%s', which is not a readable file; correct or "
                            "unset it",
                            named);
        /* Not realpath: a link may be there just because the real path holds a blank. */
        if (snprintf(path, PATH_MAX, "%s%s%s", here, *here ? "/" : "", named) >= PATH_MAX)
            return NO_SETUP("the path in REHEAT_LIBRARY is longer than %d bytes", PATH_MAX - 1);
        return check_loadable(path);
    }

    char self[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return NO_SETUP("cannot read /proc/self/exe (%s), so the library's place is unknown; "
                        "set REHEAT_LIBRARY to the path of " LIBRARY,
                        strerror(errno));
    self[length] = 0;
    *strrchr(self, '/') = 0;
    static const char *const places[] = {"/" LIBRARY, "/../lib/reheat/" LIBRARY};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char candidate[PATH_MAX + 32];
        snprintf(candidate, sizeof candidate, "%s%s", self, places[i]);
        if (is_library(candidate) && realpath(candidate, path) != NULL)
            return check_loadable(path);
    }
    return NO_SETUP("cannot find the library: neither %s%s nor %s%s is a readable file; "
                    "set REHEAT_LIBRARY to its path",
                    self, places[0], self, places[1]);
}

/* Sets name to "first<separator>second". */
static int set_joined(const char *name, const char *first, char separator, const char *second)
{
    char *value;
    if (asprintf(&value, "%s%c%s", first, separator, second) < 0 || setenv(name, value, 1) != 0)
        return NO_SETUP("cannot set %s: %s", name, strerror(errno));
    free(value);
    return EXIT_DONE;
}

int preload_set_library(const char *library)
{
    const char *users = getenv("LD_PRELOAD");
    if (users == NULL || *users == 0)
        return setenv("LD_PRELOAD", library, 1) == 0 ? EXIT_DONE : EXIT_SETUP;
    size_t length = strlen(library);
    bool ours_first = strncmp(users, library, length) == 0 && strchr(": ", users[length]) != NULL;
    return ours_first ? EXIT_DONE : set_joined("LD_PRELOAD", library, ':', users);
}

int preload_add_setting(const char *setting)
{
    const char *settings = getenv("REHEAT");
    if (settings == NULL || *settings == 0)
        return setenv("REHEAT", setting, 1) == 0 ? EXIT_DONE : EXIT_SETUP;
    return set_joined("REHEAT", settings, ',', setting);
}
