#include "injector/program.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "injector/message.h"

static bool is_runnable_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) == 0;
}

#define REFUSE(...) message_fail(EXIT_NOT_RUNNABLE, __VA_ARGS__)

/* Says why a path that exists, or does not, cannot be run; `role` follows the path in the message. */
static int explain_not_runnable(const char *path, const char *role)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        int code = errno == ENOENT || errno == ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_RUNNABLE;
        return message_fail(code, "cannot run '%s'%s: %s", path, role, strerror(errno));
    }
    if (S_ISDIR(st.st_mode))
        return REFUSE("cannot run '%s'%s: it is a directory; name the program in it", path, role);
    if (!S_ISREG(st.st_mode))
        return REFUSE("cannot run '%s'%s: it is not a regular file", path, role);
    return REFUSE("cannot run '%s'%s: you have no execute permission (its mode is %04o); use chmod +x", path,
                  role, st.st_mode & 07777);
}

int program_find(const char *name, char path[PATH_MAX])
{
    if (strchr(name, '/') != NULL) {
        if (snprintf(path, PATH_MAX, "%s", name) >= PATH_MAX)
            return REFUSE("the program's path is longer than %d bytes", PATH_MAX - 1);
        return is_runnable_file(path) ? EXIT_DONE : explain_not_runnable(path, "");
    }
    char refused[PATH_MAX] = ""; /* the first that exists but cannot be run, as execvp remembers EACCES */
    const char *search = getenv("PATH");
    if (search == NULL)
        search = "/bin:/usr/bin";
    for (bool more = *name != 0; more;) {
        size_t length = strcspn(search, ":");
        const char *slash = length > 0 ? "/" : "./"; /* an empty entry is the current directory */
        int written = snprintf(path, PATH_MAX, "%.*s%s%s", (int)length, search, slash, name);
        if (written < PATH_MAX) {
            if (is_runnable_file(path))
                return EXIT_DONE;
            if (refused[0] == 0 && access(path, F_OK) == 0)
                memcpy(refused, path, (size_t)written + 1);
        }
        more = search[length] == ':';
        search += length + 1;
    }
    if (refused[0] != 0)
        return explain_not_runnable(refused, "");
    return message_fail(EXIT_NOT_FOUND, "cannot find the program '%s' in PATH", name);
}

static int check_privileges(const char *path, int fd)
{
    struct stat st;
    const char *what = NULL;
    if (fstat(fd, &st) == 0 && (st.st_mode & S_ISUID))
        what = "set-user-id";
    else if ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
        what = "set-group-id";
    else if (fgetxattr(fd, "security.capability", NULL, 0) > 0)
        what = "marked with file capabilities";
    if (what == NULL)
        return EXIT_DONE;
    return REFUSE("'%s' is %s: the loader ignores preloaded libraries in programs with elevated privileges; "
                  "run it without reheat, or use a copy without the privilege",
                  path, what);
}

static int check_elf(const char *path, int fd, const Elf64_Ehdr *header)
{
    unsigned class = header->e_ident[EI_CLASS], machine = header->e_machine;
    if (class != ELFCLASS64 || machine != EM_X86_64)
        return REFUSE("'%s' is not a 64-bit x86 program: reheat needs ELF class %u and machine %u, the file "
                      "has %u and %u; use an x86-64 build of it",
                      path, ELFCLASS64, EM_X86_64, class, machine);
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
        return REFUSE("'%s' is an ELF file but not a program (type %u)", path, header->e_type);
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment;
        off_t at = (off_t)(header->e_phoff + (Elf64_Off)i * sizeof segment);
        bool known = header->e_phentsize == sizeof segment;
        if (!known || pread(fd, &segment, sizeof segment, at) != sizeof segment)
            return REFUSE("'%s' is a damaged ELF file: its program headers cannot be read", path);
        if (segment.p_type == PT_INTERP)
            return EXIT_DONE;
    }
    return REFUSE("'%s' is statically linked (it names no dynamic loader), so no library can be preloaded "
                  "into it; link it dynamically",
                  path);
}

enum { SCRIPT_LINE = 256 }; /* what the kernel reads of a script (BINPRM_BUF_SIZE) */

/* Puts the interpreter of a "#!" line into the line itself. */
static const char *script_interpreter(char line[SCRIPT_LINE + 1])
{
    line[strcspn(line, "\n")] = 0;
    char *name = line + 2 + strspn(line + 2, " \t");
    name[strcspn(name, " \t")] = 0;
    return name;
}

static int check_at_depth(const char *path, unsigned depth)
{
    union {
        Elf64_Ehdr elf;
        char line[SCRIPT_LINE + 1];
    } head = {.line = ""};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return EXIT_DONE; /* executable but not readable is legal: then the kernel decides */
    ssize_t got = pread(fd, head.line, SCRIPT_LINE, 0);
    size_t length = got > 0 ? (size_t)got : 0;
    bool elf = length >= sizeof head.elf && memcmp(head.line, ELFMAG, SELFMAG) == 0;
    int code = elf ? check_privileges(path, fd) : EXIT_DONE;
    if (elf && code == EXIT_DONE)
        code = check_elf(path, fd, &head.elf);
    close(fd);
    if (elf)
        return code;

    if (strcspn(head.line, "\n") < length && head.line[strcspn(head.line, "\n")] == 0)
        return REFUSE("'%s' is neither an ELF program nor a script", path);
    /* Without a "#!" line execvp gives the file to the shell. */
    const char *interpreter = memcmp(head.line, "#!", 2) == 0 ? script_interpreter(head.line) : "/bin/sh";
    if (depth == 0)
        return REFUSE("'%s': the kernel follows at most 5 script interpreters", path);
    if (*interpreter == 0)
        return REFUSE("'%s' is a script whose first line names no interpreter", path);
    char role[PATH_MAX + 40];
    snprintf(role, sizeof role, " (the interpreter of the script '%s')", path);
    return is_runnable_file(interpreter) ? check_at_depth(interpreter, depth - 1)
                                         : explain_not_runnable(interpreter, role);
}

int program_check(const char *path)
{
    return check_at_depth(path, 5);
}
