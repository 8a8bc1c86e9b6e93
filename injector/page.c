#include "injector/page.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "injector/message.h"

#define NO_PAGE(...) message_fail(EXIT_NOTHING, __VA_ARGS__)

uint32_t page_parse_pid(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits] != 0 || text[0] == '0')
        return 0;
    return (uint32_t)strtoul(text, NULL, 10);
}

bool page_process_runs(uint32_t pid)
{
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH)
        return false;
    /* A zombie still takes signals. Its state follows the name, which may itself hold parentheses. */
    char path[40], line[512] = "";
    snprintf(path, sizeof path, "/proc/%" PRIu32 "/stat", pid);
    FILE *stat = fopen(path, "re");
    if (stat == NULL)
        return true;
    size_t length = fread(line, 1, sizeof line - 1, stat);
    fclose(stat);
    line[length] = 0;
    const char *name_end = strrchr(line, ')');
    return name_end == NULL || (strncmp(name_end, ") Z", 3) != 0 && strncmp(name_end, ") X", 3) != 0);
}

static int compare_samples(const void *a, const void *b)
{
    const struct proto_fragment *left = a, *right = b;
    if (left->samples != right->samples)
        return left->samples < right->samples ? 1 : -1;
    return (left->id > right->id) - (left->id < right->id);
}

static void make_printable(struct proto_page *page)
{
    page->exe[sizeof page->exe - 1] = 0;
    for (size_t i = 0; i < PROTO_TOP; i++) {
        page->top[i].module[PROTO_NAME - 1] = 0;
        page->top[i].symbol[PROTO_NAME - 1] = 0;
    }
    qsort(page->top, PROTO_TOP, sizeof page->top[0], compare_samples);
}

static int check_page(const char *path, const struct proto_page *page, size_t length)
{
    const size_t header = offsetof(struct proto_page, pid);
    if (length >= header && page->magic == 0)
        return NO_PAGE("'%s' is not filled in yet: the process is just starting; try again", path);
    if (length < header || page->magic != PROTO_MAGIC)
        return NO_PAGE("'%s' is not a stat page: it does not start with the magic number", path);
    if (page->version != PROTO_VERSION)
        return NO_PAGE("'%s' is a stat page of version %" PRIu32 ", and this reheat reads version "
                       "%d; use the reheat that came with the library",
                       path, page->version, PROTO_VERSION);
    if (page->bytes != sizeof *page || length != sizeof *page)
        return NO_PAGE("'%s' is damaged: a stat page has %zu bytes, its header says %" PRIu32
                       ", the file has %s%zu",
                       path, sizeof *page, page->bytes, length == sizeof *page ? "at least " : "", length);
    return EXIT_DONE;
}

/* The descriptor of a page, or -1 with errno. Anyone may write to /dev/shm: follow no link, wait for no pipe.
 */
static int open_page(const char *path, int flags)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
    if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)))
        return fd;
    close(fd);
    errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
    return -1;
}

/* Read, not mapped: a file that is cut short meanwhile must not kill us. Closes fd. */
static int read_page(const char *path, int fd, struct proto_page *page)
{
    size_t length = 0;
    ssize_t got = 1;
    memset(page, 0, sizeof *page);
    while (length < sizeof *page && got > 0) {
        got = pread(fd, (char *)page + length, sizeof *page - length, (off_t)length);
        length += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    if (got < 0)
        return NO_PAGE("cannot read '%s': %s", path, strerror(errno));
    int code = check_page(path, page, length);
    if (code == EXIT_DONE)
        make_printable(page);
    return code;
}

static int open_page_of(unsigned user, uint32_t pid, char *path, size_t size)
{
    char directory[64];
    snprintf(directory, sizeof directory, PROTO_DIR_FORMAT, user);
    snprintf(path, size, "%s/%" PRIu32, directory, pid);
    return open_page(path, O_NOFOLLOW);
}

/* Looks through the directories of all users, for root. */
static int open_page_of_anyone(uint32_t pid, char *path, size_t size)
{
    int fd = -1;
    DIR *users = opendir("/dev/shm");
    for (struct dirent *entry; users != NULL && fd < 0 && (entry = readdir(users)) != NULL;) {
        unsigned user;
        char pattern[64], name[64];
        snprintf(pattern, sizeof pattern, "/dev/shm/%.40s", entry->d_name);
        if (sscanf(pattern, PROTO_DIR_FORMAT, &user) != 1) /* NOLINT(cert-err34-c): compared below */
            continue;
        snprintf(name, sizeof name, PROTO_DIR_FORMAT, user);
        if (strcmp(name, pattern) == 0)
            fd = open_page_of(user, pid, path, size);
    }
    if (users != NULL)
        closedir(users);
    return fd;
}

static int explain_no_page(uint32_t pid)
{
    char path[40];
    struct stat st;
    if (!page_process_runs(pid))
        return NO_PAGE("there is no stat page of process %" PRIu32 ", and no such process runs: it "
                       "was not started with 'reheat run', refused the runtime at start, or ended more than "
                       "an hour ago",
                       pid);
    snprintf(path, sizeof path, "/proc/%" PRIu32, pid);
    if (geteuid() != 0 && stat(path, &st) == 0 && st.st_uid != geteuid())
        return NO_PAGE("process %" PRIu32 " belongs to user %u; only that user and root can read its "
                       "stat page",
                       pid, st.st_uid);
    return NO_PAGE(
        "process %" PRIu32 " runs but has no stat page: it was not started with "
        "'reheat run', never became hot, or the runtime refused it at start (control=off, elevated "
        "privileges, shadow stacks)",
        pid);
}

int page_load(const char *target, struct proto_page *page)
{
    char path[96];
    uint32_t pid = page_parse_pid(target);
    if (pid == 0) {
        int fd = open_page(target, 0);
        if (fd < 0)
            return NO_PAGE("cannot open the stat page '%s': %s", target, strerror(errno));
        return read_page(target, fd, page);
    }
    int fd = open_page_of(geteuid(), pid, path, sizeof path);
    if (fd < 0 && geteuid() == 0)
        fd = open_page_of_anyone(pid, path, sizeof path);
    return fd < 0 ? explain_no_page(pid) : read_page(path, fd, page);
}
