/* When a process ended is read from its page's time of modification. Writes through a mapping do not move it,
 * so a process that ends well sets it when it clears `running`. A killed one could not: its page still says
 * `running`. The first call that sees this clears it, and the hour counts from there. */
#include "injector/prune.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "injector/page.h"
#include "runtime/proto.h"

enum { KEEP_SECONDS = 60 * 60 };

static bool has_expired(int fd)
{
    struct stat st;
    uint32_t running = 0;
    const off_t at = offsetof(struct proto_page, running);
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
        return false;
    if (pread(fd, &running, sizeof running, at) == sizeof running && running != 0) {
        const uint32_t ended = 0;
        (void)!pwrite(fd, &ended, sizeof ended, at);
        return false;
    }
    return time(NULL) - st.st_mtime > KEEP_SECONDS;
}

void prune_old_pages(void)
{
    char path[64];
    snprintf(path, sizeof path, PROTO_DIR_FORMAT, geteuid());
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *pages = directory < 0 ? NULL : fdopendir(directory);
    if (pages == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(pages)) != NULL;) {
        uint32_t pid = page_parse_pid(entry->d_name);
        if (pid == 0 || page_process_runs(pid))
            continue;
        int fd = openat(directory, entry->d_name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (has_expired(fd))
            unlinkat(directory, entry->d_name, 0);
        close(fd);
    }
    closedir(pages);
}
