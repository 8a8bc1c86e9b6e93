#include "runtime/log.h"

#include <asm/fcntl.h>
#include <asm/resource.h>

#include "runtime/base/mem.h"
#include "runtime/base/sys.h"

static const char *log_path = "";
static unsigned log_verbose;

void log_set(const char *path, unsigned verbose)
{
    log_path = path;
    log_verbose = verbose;
}

bool log_wants(unsigned level) { return log_path[0] && log_verbose >= level; }

void log_append(const char *path, const char *text, size_t len)
{
    char name[512];
    uint64_t limit[2];
    if (sys_call6(__NR_prlimit64, 0, RLIMIT_FSIZE, 0, (long)limit, 0, 0) < 0 || limit[0] != RLIM_INFINITY)
        return; /* writing could raise SIGXFSZ in the program */
    struct fmt f = fmt_on(name, sizeof name);
    fmt_path(&f, path, sys_getpid());
    long fd = sys_open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return;
    (void)sys_write(fd, text, len);
    (void)sys_close(fd);
}

void log_line(const char *text)
{
    char line[640];
    if (!log_path[0])
        return;
    struct fmt f = fmt_on(line, sizeof line);
    fmt_str(&f, "reheat[");
    fmt_dec(&f, sys_getpid());
    fmt_str(&f, "]: ");
    fmt_str(&f, text);
    fmt_char(&f, '\n');
    log_append(log_path, line, f.len);
}
