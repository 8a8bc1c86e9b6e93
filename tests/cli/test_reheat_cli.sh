#!/bin/bash
# The command line of reheat: every refusal with its exit code and message, what a started program sees, and
# reports of made-up stat pages. Needs REHEAT_BIN, gcc and python3; does not need the real library.
# shellcheck disable=SC2016 # what stands in single quotes is for the started shell
set -u

REHEAT_BIN=$(realpath "${REHEAT_BIN:-build/reheat}")
root=$(realpath "$(dirname "$0")/../..")
work=$(mktemp -d)
stats=/dev/shm/reheat-$(id -u)
had_stats=$([ -d "$stats" ] && echo yes)
made_pages=()
passed=0
failed=0
unset REHEAT LD_PRELOAD

cleanup() {
    rm -rf "$work"
    [ ${#made_pages[@]} -gt 0 ] && rm -f "${made_pages[@]}"
    [ -z "$had_stats" ] && rmdir "$stats" 2>/dev/null
}
trap cleanup EXIT

ok() {
    passed=$((passed + 1))
    echo "ok - $1"
}

not_ok() {
    failed=$((failed + 1))
    echo "not ok - $1"
    shift
    printf '#   %s\n' "$@"
}

# run NAME EXIT PATTERN COMMAND...: the exit code, and an extended regular expression that the output of
# both kinds matches. PATTERN "" wants no output.
run() {
    local name=$1 code=$2 pattern=$3 output status
    shift 3
    output=$("$@" 2>&1 </dev/null)
    status=$?
    if [ "$status" -ne "$code" ]; then
        not_ok "$name" "exit $status instead of $code" "$output"
    elif [ -z "$pattern" ] && [ -n "$output" ]; then
        not_ok "$name" "unexpected output" "$output"
    elif ! grep -qE -- "$pattern" <<<"$output"; then
        not_ok "$name" "no match for: $pattern" "$output"
    else
        ok "$name"
    fi
}

# is NAME EXPECTED ACTUAL
is() {
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "expected: $2" "actual:   $3"; fi
}

reheat() {
    "$REHEAT_BIN" "$@"
}

# ---- helpers: a library that does nothing, programs of each kind, a writer of stat pages

echo 'int nothing;' >"$work/nothing.c"
gcc -shared -fPIC -o "$work/libreheat.so" "$work/nothing.c" || exit 1
gcc -shared -fPIC -o "$work/user.so" "$work/nothing.c" || exit 1
export REHEAT_LIBRARY=$work/libreheat.so

echo 'int main(void) { return 7; }' >"$work/seven.c"
gcc -o "$work/seven" "$work/seven.c" || exit 1
gcc -static -o "$work/static" "$work/seven.c" || exit 1
gcc -static-pie -o "$work/static-pie" "$work/seven.c" 2>/dev/null || cp "$work/static" "$work/static-pie"
gcc -c -o "$work/object.o" "$work/seven.c" && chmod +x "$work/object.o"

cat >"$work/page.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "runtime/base/rc.h"
#include "runtime/proto.h"
/* page FILE PID RUNNING [MAGIC VERSION BYTES]: a page with one of everything. */
int main(int argc, char **argv)
{
    static struct proto_page p = {.magic = PROTO_MAGIC, .version = PROTO_VERSION, .bytes = sizeof p,
        .control = 1, .sampler = PROTO_SAMPLER_TIMER, .exe = "/opt/an \"app\"\x1b[31m", .cpu_ns = 2000000000,
        .runtime_ns = 100000000, .samples_fragment = 75, .samples_native = 20, .samples_runtime = 5,
        .samples_why = {[RC_OUTSIDE] = 8, [RC_UNSEEN] = 12},
        .traces_recorded = 3, .traces_declined = {[RC_TOO_LONG] = 4}, .fragments_live = 1,
        .fragments_emitted = 2, .sampler_reason = RC_PERF_REFUSED, .hooks = 7, .hooks_set = {2, 5, 0},
        .write_ways = PROTO_WRITE_PAGE,
        .insns_in = 100, .insns_out = 90, .links = 6, .cache_used = 1000, .cache_capacity = 8 << 20,
        .bailout_reason = RC_LOW_RESIDENCY, .bailout_cpu_ns = 1500000000};
    p.top[0] = (struct proto_fragment){.id = 1, .state = PROTO_FRAG_RETIRED, .why = RC_FLUSHED, .samples = 5,
        .module = "libcold.so"};
    p.top[2] = (struct proto_fragment){.id = 2, .state = PROTO_FRAG_LIVE, .samples = 70, .offset = 0x11a2,
        .module = "libhot.so", .symbol = "hot_loop"};
    p.pid = (uint32_t)atoi(argv[2]);
    p.running = (uint32_t)atoi(argv[3]);
    if (argc > 6) {
        p.magic = *argv[4] ? strtoull(argv[4], NULL, 0) : p.magic;
        p.version = *argv[5] ? (uint32_t)atoi(argv[5]) : p.version;
        p.bytes = *argv[6] ? (uint32_t)atoi(argv[6]) : p.bytes;
    }
    FILE *out = fopen(argv[1], "wb");
    return out == NULL || fwrite(&p, sizeof p, 1, out) != 1 || fclose(out) != 0;
}
END
gcc -std=gnu2x -I "$root" -o "$work/page" "$work/page.c" || exit 1

# ---- help and usage

run "no argument shows the usage" 2 '^Usage:' reheat
is "usage errors leave stdout empty" "" "$(reheat 2>/dev/null)$(reheat rum 2>/dev/null)"
run "--version" 0 '^reheat [0-9]+\.[0-9]+\.[0-9]+$' reheat --version
run "version" 0 '^reheat [0-9]' reheat version
run "version with an argument" 2 "takes no argument" reheat version x
run "--help" 0 'reheat report' reheat --help
run "help run lists options" 0 '^  cache=SIZE +\(default 8M, 16K to 1G\)' reheat help run
run "run --help lists options" 0 '^  control=[a-z|]*full[a-z|]* +\(default' reheat run --help
run "sampled is the default" 0 '^  control=off\|full\|sampled +\(default sampled\)' reheat run --help
run "trials are on by default" 0 '^  trial=N +\(default 1,' reheat run --help
run "run -o x --help" 0 '^  hot=N' reheat run -o hot=3 --help
run "report --help" 0 '^Usage: reheat report' reheat report --help
run "help for an unknown command" 2 "no command 'x'" reheat help x
run "help with two commands" 2 "one command" reheat help run report
run "unknown command is corrected" 2 'did you mean report\?' reheat reprot 1
run "unknown option" 2 "no option '--frob'" reheat --frob
run "man page" 0 '^\.TH REHEAT 1' reheat help --man
run "man page lists options" 0 '^\.B maxinsns=N' reheat help --man
if [ -w /dev/full ]; then
    run "full disk is noticed" 1 'cannot write' bash -c '"$1" --help >/dev/full' - "$REHEAT_BIN"
fi

# ---- options of run

run "run without a program" 2 'needs a PROGRAM' reheat run
run "run -- without a program" 2 'needs a PROGRAM' reheat run --
run "run with an unknown flag" 2 "no option '-x'" reheat run -x true
run "-o without a value" 2 '-o needs KEY=VALUE' reheat run -o
run "unknown key is corrected" 2 "no option 'cahce' \(did you mean cache\?\)" reheat run -o cahce=1M true
run "unknown key, nothing near" 2 "no option 'zzzzzzz';" reheat run -o zzzzzzz=1 true
run "empty key" 2 "no option ''" reheat run -o =1 true
run "key without value" 2 'hot needs a value: hot=N' reheat run -o hot true
run "number below the range" 2 "hot must be a number from 1 to 1000000, not '0'" reheat run -o hot=0 true
run "number above the range" 2 "not '1000001'" reheat run -o hot=1000001 true
for bad in '' -1 +5 ' 5' 5x 0x10 1e3 5K 99999999999999999999; do
    run "number '$bad'" 2 "hot must be a number" reheat run "-ohot=$bad" true
done
for bad in 15K 2G 1T 8MB 8m 999999999999999G; do
    run "size $bad" 2 "cache must be a number from 16K to 1G" reheat run -o "cache=$bad" true
done
for good in 16K 16384 64M 1G 1073741824; do
    run "size $good" 7 '' reheat run -o "cache=$good" "$work/seven"
done
run "unknown choice" 2 "control must be one of off\|full\S*, not 'of'" reheat run -o control=of true
run "part of the choices" 2 "control must be" reheat run -o 'control=off|full' true
run "comma in a value" 2 "log contains a comma" reheat run -o log=a,b true
run "two settings in one -o" 2 "hot contains a comma.*own -o" reheat run -o hot=5,link=0 true
run "bad REHEAT in the environment" 2 'variable REHEAT: .*did you mean hot' \
    env REHEAT=hott=5 "$REHEAT_BIN" run true

# ---- programs that cannot be run

mkdir "$work/dir" "$work/path"
: >"$work/plain"
printf 'int\0\1\2' >"$work/binary"
printf '#!%s\n' "$work/static" >"$work/static-script"
printf '#! %s -x\n' "$work/static-script" >"$work/static-script2"
printf '#!/no/such/interpreter\n' >"$work/lost-script"
printf '#!\n' >"$work/empty-script"
printf '#!%s\n' "$work/loop-script" >"$work/loop-script"
cp "$work/seven" "$work/set-uid"
cp "$work/seven" "$work/set-gid"
cp "$work/seven" "$work/other-machine"
printf '\267' | dd of="$work/other-machine" bs=1 seek=18 conv=notrunc 2>/dev/null # AArch64
head -c 100 "$work/seven" >"$work/cut-short"
chmod +x "$work"/{binary,*-script,static-script2,other-machine,cut-short}
chmod 4755 "$work/set-uid"
chmod 2755 "$work/set-gid"
: >"$work/path/refused"

run "no such path" 127 "cannot run '/no/such': No such file" reheat run /no/such
run "not in PATH" 127 "cannot find the program 'no-such-program-x' in PATH" reheat run no-such-program-x
run "empty name" 127 "cannot find" reheat run ''
run "below a file" 127 "Not a directory" reheat run "$work/plain/x"
run "directory" 126 "it is a directory" reheat run "$work/dir"
run "no execute permission" 126 "no execute permission.*chmod" reheat run "$work/plain"
run "no execute permission, in PATH" 126 "path/refused.*chmod" \
    env PATH="$work/path:$PATH" "$REHEAT_BIN" run refused
run "device" 126 "not a regular file" reheat run /dev/null
run "static program" 126 "statically linked.*link it dynamically" reheat run "$work/static"
run "static position-independent program" 126 "statically linked" reheat run "$work/static-pie"
run "set-user-id program" 126 "is set-user-id" reheat run "$work/set-uid"
run "set-group-id program" 126 "is set-group-id" reheat run "$work/set-gid"
if cp "$work/seven" "$work/caps" && setcap cap_net_raw+ep "$work/caps" 2>/dev/null; then
    run "file capabilities" 126 "file capabilities" reheat run "$work/caps"
fi
run "other machine" 126 "needs ELF class 2 and machine 62, the file has 2 and 183" \
    reheat run "$work/other-machine"
run "object file" 126 "not a program \(type 1\)" reheat run "$work/object.o"
run "damaged program" 126 "damaged ELF" reheat run "$work/cut-short"
run "neither program nor script" 126 "neither an ELF program nor a script" reheat run "$work/binary"
run "script of a static program" 126 "static' is statically linked" reheat run "$work/static-script"
run "script of a script of a static program" 126 "static' is statically" reheat run "$work/static-script2"
run "script without its interpreter" 127 "/no/such/interpreter' \(the interpreter of" \
    reheat run "$work/lost-script"
run "script naming no interpreter" 126 "names no interpreter" reheat run "$work/empty-script"
run "script that is its own interpreter" 126 "at most 5" reheat run "$work/loop-script"

# ---- the library

run "REHEAT_LIBRARY names nothing" 125 "REHEAT_LIBRARY names '/no/lib.so'" \
    env REHEAT_LIBRARY=/no/lib.so "$REHEAT_BIN" run true
run "REHEAT_LIBRARY names a directory" 125 "not a readable file" \
    env REHEAT_LIBRARY="$work/dir" "$REHEAT_BIN" run true
mkdir -p "$work/a b" "$work/prefix/bin" "$work/prefix/lib/reheat"
cp "$work/libreheat.so" "$work/a b/"
run "library below a blank" 125 "colon or a blank" \
    env REHEAT_LIBRARY="$work/a b/libreheat.so" "$REHEAT_BIN" run true
cp "$REHEAT_BIN" "$work/prefix/bin/reheat"
installed=$work/prefix/bin/reheat
run "no library anywhere" 125 "cannot find the library: neither .*bin/libreheat.so nor" \
    env -u REHEAT_LIBRARY "$installed" run true
cp "$work/libreheat.so" "$work/prefix/lib/reheat/"
show='echo "$LD_PRELOAD"'
is "library in ../lib/reheat" "$work/prefix/lib/reheat/libreheat.so" \
    "$(env -u REHEAT_LIBRARY "$installed" run sh -c "$show")"
cp "$work/libreheat.so" "$work/prefix/bin/"
is "library beside the program" "$work/prefix/bin/libreheat.so" \
    "$(env -u REHEAT_LIBRARY "$installed" run sh -c "$show")"
ln -s "$installed" "$work/link"
is "reheat through a link" "$work/prefix/bin/libreheat.so" \
    "$(env -u REHEAT_LIBRARY "$work/link" run sh -c "$show")"
is "relative REHEAT_LIBRARY" "$work/libreheat.so" "$(cd "$work" && REHEAT_LIBRARY=libreheat.so \
    reheat run sh -c "$show")"

# ---- what the program sees

lib=$REHEAT_LIBRARY
is "LD_PRELOAD" "$lib" "$(reheat run sh -c "$show")"
is "user's LD_PRELOAD is kept" "$lib:$work/user.so" "$(LD_PRELOAD=$work/user.so reheat run sh -c "$show")"
is "empty LD_PRELOAD" "$lib" "$(LD_PRELOAD='' reheat run sh -c "$show")"
is "reheat under reheat" "$lib:$work/user.so" "$(LD_PRELOAD=$work/user.so \
    reheat run "$REHEAT_BIN" run sh -c "$show")"
show='echo "${REHEAT-unset}"'
is "REHEAT without options" unset "$(reheat run sh -c "$show")"
is "REHEAT with options" "hot=5,cache=64K" "$(reheat run -o hot=5 -ocache=64K -- sh -c "$show")"
is "REHEAT is merged" "hot=5,link=0,hot=7" "$(REHEAT=hot=5,link=0 reheat run -o hot=7 sh -c "$show")"
is "REHEAT is kept" "hot=5" "$(REHEAT=hot=5 reheat run sh -c "$show")"
is "an equals sign in a value" "log=/tmp/a=b" "$(reheat run -o log=/tmp/a=b sh -c "$show")"
is "arguments" "-o|--help|a b||" "$(reheat run printf '%s|' -o --help 'a b' '')"
run "exit status" 7 '' reheat run "$work/seven"
is "argv[0] as given" "sh" "$(reheat run sh -c 'echo $0')"
is "relative path" 7 "$(cd "$work" && reheat run ./seven; echo $?)"
is "current directory in PATH" 7 "$(cd "$work" && PATH=: reheat run seven; echo $?)"
is "later PATH entry" 7 "$(PATH="/no:$work/dir:$work:$PATH" reheat run seven; echo $?)"
"$REHEAT_BIN" run sh -c 'echo $$' >"$work/pid" &
wait $!
is "same process id" "$!" "$(cat "$work/pid")"
# shellcheck disable=SC2012 # descriptor numbers, not file names
is "no descriptor leaks" \
    "$(sh -c 'ls /proc/self/fd' | wc -l)" "$(reheat run sh -c 'ls /proc/self/fd' | wc -l)"
printf '#!/bin/sh\necho script "$1"\n' >"$work/script"
printf '#! /usr/bin/env sh\necho env script\n' >"$work/env-script"
printf 'echo no line\n' >"$work/bare-script"
: >"$work/empty"
chmod +x "$work"/{script,env-script,bare-script,empty}
run "script" 0 '^script x$' reheat run "$work/script" x
run "script through env" 0 '^env script$' "$REHEAT_BIN" run "$work/env-script"
run "script without #!" 0 '^no line$' reheat run "$work/bare-script"
run "empty script" 0 '' reheat run "$work/empty"

# ---- bisect: a program that is wrong from the 37th change on, and writes dumps as the runtime does

cat >"$work/wrong" <<'END'
#!/bin/sh
# wrong LEAST: from which change on; 0: without any
value() { echo ",$REHEAT" | sed -n "s/.*,$1=\([^,]*\).*/\1/p"; }
changes=$(value bisect)
[ "$(value passes)" = none ] && changes=0
case $REHEAT in *control=off*) changes=-1 ;; esac
dump=$(value dump)
if [ -n "$dump" ]; then
    echo "---- fragment 3  libx.so+0x40  loop  insns 4 -> 4  bytes 9 -> $changes"
    echo '0040  =   +0x00       48 8b 5d 08 '
    if [ "$changes" -ge 37 ]; then
        echo '      -   +0x04       c7 84 24 80 00 00 00 80 00 00 00 calls: not that'
        echo '      -   +0x0f       48 85 db                          flags: nothing reads them'
        echo '0044  >0  +0x12       74 c1 '
    else
        echo '      -   +0x04       c7 84 24 80 00 00 00 80 00 00 00 calls: not that'
        echo '0044  =   +0x0f       48 85 db '
        echo '0047  >0  +0x12       74 c1 '
    fi
fi >"${dump:-/dev/null}"
cat
echo "${2-}"
[ "$changes" -lt "$1" ] || exit 3
END
cat >"$work/restless" <<'END'
#!/bin/sh
date +%N
END
chmod +x "$work"/{wrong,restless}
run "bisect without a program" 2 'bisect needs a PROGRAM' reheat bisect
run "bisect with an unknown flag" 2 "no option '-x'" reheat bisect -x true
run "bisect checks settings" 2 "hot must be a number" reheat bisect -o hot=0 true
run "bisect -o without a value" 2 '-o needs KEY=VALUE' reheat bisect -o
run "bisect checks REHEAT" 2 "in the environment variable REHEAT: there is no option 'x'" env REHEAT=x=1 "$REHEAT_BIN" bisect true
run "bisect of a program that is not there" 127 'no/such' reheat bisect /no/such
run "bisect, static program" 126 'static' reheat bisect "$work/static"
TMPDIR=$work reheat bisect -o hot=3 "$work/wrong" 37 text >"$work/bisected" 2>&1 </dev/null
is "bisect finds the change" 0 $?
for line in '^change +37$' '^pass +flags$' '^fragment +3  libx.so\+0x40' '^node +-   \+0x0f +48 85 db' \
    '^natively +exit status 0, 5 bytes$' '^changes to 64 +wrong: exit status 3, 5 bytes$' '^no change +right'; do
    run "bisect prints: $line" 0 "$line" cat "$work/bisected"
done
is "dumps are removed" "" "$(find "$work" -name 'reheat-bisect-*')"
run "bisect keeps a pipe's bytes for each run" 0 '^natively +exit status 0, 101 bytes$' \
    bash -c 'head -c 100 /dev/zero | "$1" bisect "$2" 37' - "$REHEAT_BIN" "$work/wrong"
head -c 100 /dev/zero >"$work/zeros"
run "bisect rewinds a file to where it was" 0 '^natively +exit status 0, 91 bytes$' \
    bash -c 'exec <"$3"; head -c 10 >/dev/null; "$1" bisect "$2" 37' - "$REHEAT_BIN" "$work/wrong" "$work/zeros"
run "bisect, nothing wrong" 1 'the output under reheat is the native one' reheat bisect "$work/wrong" 2000000000
run "bisect, wrong without changes" 1 'wrong without any change' reheat bisect "$work/wrong" 0
run "bisect, restless output" 1 'two native runs differ' reheat bisect "$work/restless"
run "bisect, first change" 1 'the change cannot be named' reheat bisect "$work/wrong" 1

# ---- report

run "report without a target" 2 'needs a PID' reheat report
run "report with two targets" 2 "got '1' and '2'" reheat report 1 2
run "report in an unknown format" 2 "must be text or json, not 'xml'" reheat report --format=xml 1
run "report with an unknown option" 2 "no option '--pid'" reheat report --pid 1

# process ids that nobody has left a page under
sleepers=()
for ((;;)); do
    sleep 600 &
    alive=$!
    sleepers+=("$alive")
    compgen -G "/dev/shm/reheat-*/$alive" >/dev/null || break
done
for ((;;)); do
    sh -c : &
    dead=$!
    wait $dead
    compgen -G "/dev/shm/reheat-*/$dead" >/dev/null || break
done
run "process without a page" 1 "process $alive runs but has no stat page" reheat report "$alive"
run "no such process" 1 "no such process runs" reheat report "$dead"
run "number beyond all processes" 1 "cannot open" reheat report 99999999999
run "file that is not there" 1 "cannot open the stat page '/no/page': No such file" reheat report /no/page
run "directory as page" 1 "directory" reheat report "$work/dir"
mkfifo "$work/pipe"
run "pipe as page" 1 "cannot open" reheat report "$work/pipe"
run "empty file as page" 1 "not a stat page" reheat report "$work/empty"
run "program as page" 1 "not a stat page" reheat report "$work/seven"
"$work/page" "$work/starting" 1 1 0 '' ''
run "page without magic" 1 "just starting" reheat report "$work/starting"
"$work/page" "$work/newer" 1 1 '' 999 ''
run "page of another version" 1 "version 999, and this reheat reads version" reheat report "$work/newer"
"$work/page" "$work/sized" 1 1 '' '' 4711
run "page of another size" 1 "header says 4711" reheat report "$work/sized"
"$work/page" "$work/good" "$dead" 1
head -c 3000 "$work/good" >"$work/cut"
run "page cut short" 1 "damaged.*the file has 3000" reheat report "$work/cut"

reheat report "$work/good" >"$work/text"
for line in "an \"app\"\?\[31m, process $dead, ended, control=full" 'CPU time +2.000 s' \
    'in the runtime +0.100 s +5.00 %' \
    'residency +75.00 %' ' 12.00 % +native: in code that was never' ' 8.00 % +native: in code that has a fragment' 'samples +100 ' 'sampler +timer ticks \(samples: perf_event_open is refused.*' 'hooks +7 +live; set: 2 long, 5 pun, 0 several' \
    'code written by +replaced pages' 'traces recorded +3' 'traces declined +4' \
    ' 4 +trace exceeds the buffer' 'instructions +100 .* 90 .*-10.0 %' \
    'bail-out +yes +after 1.500 s.*do not pay' \
    '70 +70.00 .* live .*libhot.so\+0x11a2  hot_loop' \
    '5 +5.00 .* retired .*libcold.so\+0x0  \(cache flushed\)'; do
    run "text report: $line" 0 "$line" cat "$work/text"
done
is "text report: hottest first" "hot cold" \
    "$(grep -oE 'lib(hot|cold)' "$work/text" | sed 's/lib//' | paste -sd' ')"
run "JSON report" 0 '^75 0.75 low_residency 2 0x11a2$' bash -c '"$1" report --format=json "$2" | python3 -c "
import json, sys
r = json.load(sys.stdin)
t = r[\"top\"][0]
print(r[\"samples\"][\"fragment\"], r[\"residency\"], r[\"bailout\"][\"reason\"],
    t[\"id\"], t[\"offset\"])"' - \
    "$REHEAT_BIN" "$work/good"
run "format as two words" 0 '^\{' reheat report --format json "$work/good"

[ -d "$stats" ] || mkdir -m 700 "$stats"
put_page() { # PID RUNNING AGE
    "$work/page" "$stats/$1" "$1" "$2" && touch -d "$3" "$stats/$1"
    made_pages+=("$stats/$1")
}
put_page "$alive" 1 'now'
run "running process" 0 "process $alive, running" reheat report "$alive"
put_page "$alive" 0 'now'
run "process that is just exiting" 0 "process $alive, ended" reheat report "$alive"
put_page "$dead" 1 'now'
run "process that was killed" 0 "process $dead, ended" reheat report "$dead"

put_page "$dead" 0 '59 minutes ago'
reheat report "$work/good" >/dev/null
is "a page is kept for an hour" yes "$([ -e "$stats/$dead" ] && echo yes)"
put_page "$alive" 1 '3 days ago'
reheat report "$work/good" >/dev/null
is "the page of a running process is kept" yes "$([ -e "$stats/$alive" ] && echo yes)"
put_page "$dead" 1 '3 days ago'
reheat report "$work/good" >/dev/null
is "the hour of a killed process starts when it is seen" yes "$([ -e "$stats/$dead" ] && echo yes)"
touch -d '61 minutes ago' "$stats/$dead"
reheat report /no/page >/dev/null 2>&1
is "then it is removed, by a failing report too" no "$([ -e "$stats/$dead" ] || echo no)"
: >"$stats/not-a-page"
touch -d '3 days ago' "$stats/not-a-page"
reheat report "$work/good" >/dev/null
is "other files are left alone" yes "$([ -e "$stats/not-a-page" ] && echo yes)"
rm -f "$stats/not-a-page"

if [ "$(id -u)" -eq 0 ] && [ ! -e /dev/shm/reheat-54321 ]; then
    rm -f "$stats/$alive"
    mkdir -m 700 /dev/shm/reheat-54321
    "$work/page" "/dev/shm/reheat-54321/$alive" "$alive" 1
    run "root sees the pages of others" 0 "process $alive, running" reheat report "$alive"
    ln -sf "$work/good" "/dev/shm/reheat-54321/$alive"
    run "links in page directories are not followed" 1 "has no stat page" reheat report "$alive"
    rm -rf /dev/shm/reheat-54321
fi
kill "${sleepers[@]}"
wait "${sleepers[@]}" 2>/dev/null

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
