/* The preload's constructor: runs in every process that inherits LD_PRELOAD, so it does next to nothing
 * unless it takes control. Order: settings, refusals, take-over. */
#include <elf.h>

#include "runtime/base/maps.h"
#include "runtime/base/mem.h"
#include "runtime/base/sys.h"
#include "runtime/dispatch.h"
#include "runtime/dump.h"
#include "runtime/housekeep.h"
#include "runtime/interpose.h"
#include "runtime/log.h"
#include "runtime/policy.h"
#include "runtime/several.h"
#include "runtime/slice.h"
#include "runtime/stats.h"
#include "runtime/traces.h"

#define ARCH_SHSTK_STATUS 0x5005 /* Documentation/arch/x86/shstk.rst */

extern const char *gnu_get_libc_version(void) __attribute__((weak));

static struct options options AT_START;
static uint64_t loader_address AT_START;
static bool prepared AT_START;

/* The value of REHEAT, or NULL. The name is not taken from the constants, which are on a page that nothing else here touches. */
static const char *settings_find(char **envp)
{
    for (; *envp; envp++) {
        const char *e = *envp;
        if (e[0] == 'R' && e[1] == 'E' && e[2] == 'H' && e[3] == 'E' && e[4] == 'A' && e[5] == 'T' && e[6] == '=')
            return e + 7;
    }
    return NULL;
}

/* The auxiliary vector lies behind the environment (System V ABI, 3.4.1). */
static const Elf64_auxv_t *auxv_of(char **envp)
{
    while (*envp)
        envp++;
    return (const Elf64_auxv_t *)(envp + 1);
}

static uint64_t auxv_get(const Elf64_auxv_t *a, uint64_t type)
{
    for (; a->a_type != AT_NULL; a++)
        if (a->a_type == type)
            return a->a_un.a_val;
    return 0;
}

static rc_t refusals(const Elf64_auxv_t *auxv)
{
    uint64_t features = 0;
    if (auxv_get(auxv, AT_SECURE))
        return RC_SECURE;
    if (sys_call3(__NR_arch_prctl, ARCH_SHSTK_STATUS, &features, 0) == 0 && (features & 1))
        return RC_SHADOW_STACK;
    return RC_OK;
}

static void log_refusal(rc_t rc, const char *detail)
{
    char line[OPTION_TEXT + 200];
    struct fmt f = fmt_on(line, sizeof line);
    fmt_str(&f, "runs natively: ");
    fmt_str(&f, proto_reason_text(rc));
    if (detail[0]) {
        fmt_str(&f, ": ");
        fmt_str(&f, detail);
    }
    log_line(line);
}

/* What only a process needs that is interpreted. Under control=sampled that is at the first slice's signal. */
static void prepare(void)
{
    prepared = true;
    maps_set_loader(loader_address);
    stats_init(&options);
    housekeep_init(&options);
    dump_set(options.dump_path);
    dispatch_init(&options);
    policy_init(&options);
    log_set(options.log_path, (unsigned)options.verbose);
    (void)traces_init(&options); /* keeps a pointer */
}

__attribute__((constructor)) static void reheat_start(int argc, char **argv, char **envp)
{
    (void)argc;
    (void)argv;
    char bad[OPTION_TEXT] = "";
    if (!gnu_get_libc_version)
        return; /* other C libraries call constructors without arguments */
    interpose_syscall_init();
    options_default(&options);
    rc_t rc = options_parse(&options, settings_find(envp), bad);
    const Elf64_auxv_t *auxv = auxv_of(envp);
    if (rc == RC_OK && options.control == CONTROL_OFF)
        return;
    if (rc == RC_OK)
        rc = refusals(auxv);
    loader_address = auxv_get(auxv, AT_BASE);
    if (rc == RC_OK && options.control == CONTROL_FULL) {
        prepare();
        rc = dispatch_take_control(&options);
    } else if (rc == RC_OK) {
        several_init(options.threads != 0);
        rc = slice_start(prepare);
        if (rc != RC_OK)
            prepare(); /* no signal will, and the report is to say why */
    }
    if (rc != RC_OK) {
        stats.bailout_reason = rc;
        log_set(options.log_path, (unsigned)options.verbose);
        log_refusal(rc, bad);
    }
}

/* Reached when the program ends in exit(3) on a thread that went native. */
__attribute__((destructor)) static void reheat_stop(void)
{
    if (!prepared && !(slice_active() && options.stats_path[0]))
        return; /* nothing to tell, and the kernel takes the timer away */
    if (options.control == CONTROL_OFF || (prepared && !stats.version) || dispatch_in_control())
        return;
    if (slice_active())
        slice_stop();
    else
        housekeep_exit();
}
