#!/bin/bash
# Many runs of programs with several threads, natively and under reheat with threads=1, each under settings drawn at random: for
# what happens once in a thousand runs.
#
#   tests/e2e/soak.sh [-n RUNS] [-s SEED] [-c CONFIG]... [-k "NAME..."] [-j JOBS] [--list]
#
# The cases are the programs of src/ that have threads, and real programs. The order is drawn too, so that any number of runs is a
# sample of all of it. The last line but one adds up the runs by case.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
compare_title=${SOAK_TITLE:-soak}
COMPARE_SECONDS=${COMPARE_SECONDS:-90}
# shellcheck source=tests/e2e/compare.sh
source "$here/compare.sh"
export LC_ALL=C PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
export BIN=${BIN:-$compare_build/e2e/soak-bin} SRC=$here/src

programs=(cancel crowd dlopen_among_threads fork_among_threads fork_in_handler handler_frames late_restrictions late_thread
    patched_loop spawn stacks threads)
configs=(
    "threads=1" "threads=1,least=0,hot=2" "threads=1,trial=0" "threads=1,trial=0,hot=2"
    "threads=1,trial=0,hot=2,rate=5000" "threads=1,least=0,hot=2,rate=0" "threads=1,trial=0,hot=2,write=page"
    "threads=1,least=0,write=page" "threads=1,trial=0,hot=2,write=mem" "threads=1,trial=0,hot=2,passes=all"
    "threads=1,trial=0,hot=2,cache=64K" "threads=1,trial=0,hot=2,verify=20" "threads=1,trial=0,hot=2,fail=mremap@20+"
    "threads=1,trial=0,hot=2,fail=code_write@9" "threads=1,least=0,hot=2,fail=mmap@30+"
    "threads=1,trial=0,hot=2,fail=timer_create@2+")

# shellcheck disable=SC2016 # the inner shell expands them
declare -A commands=(
    [xz]='xz -T2 -3 --block-size=300000 -c "$INPUT" | sha256sum'
    [unxz]='xz -d -T2 -c "$INPUT.xz" | sha256sum'
    [zstd]='zstd -T2 -12 -B300000 -q -c "$INPUT" | sha256sum'
    [7z]='7z a -mmt=2 -mx=3 -bso0 -bsp0 "$OWN/a.7z" "$INPUT" && 7z x -mmt=2 -so -bsp0 "$OWN/a.7z" | sha256sum'
    [7z-bzip2]='7z a -tbzip2 -mmt=2 -si -so -bsp0 -an dummy <"$INPUT" | sha256sum'
    [sort]='sort --parallel=2 -S 64M "$INPUT" | sha256sum'
    [sort-keys]='sort --parallel=2 -S 64M -k2n -k3r "$INPUT" | sha256sum'
    [openssl]='openssl speed -multi 2 -seconds 1 -bytes 1024 sha256 >/dev/null 2>&1; echo $?; openssl dgst -sha3-256 "$INPUT" | cut -d" " -f2'
    [perl]='perl -Mthreads -e "my @t = map { my \$k = \$_; threads->create(sub { my (\$h, %m) = (\$k); for my \$i (1 .. 60000) {
        \$h = (\$h * 31 + \$i) % 1000003; \$m{\$h % 97}++ } return \$h . join q(,), map { \$m{\$_} } sort keys %m }) } 1 .. 3;
        print \$_->join, qq(\n) for @t"'
    [sqlite3]='sqlite3 :memory: "pragma threads=2; create table t(a, b); with recursive n(i) as (select 1 union all select i + 1 from n
        where i < 120000) insert into t select i * 7919 % 104729, i from n; select sum(a * b), count(distinct a) from t;
        create index x on t(a, b); select sum(b) from (select b from t order by a, b limit 500);"'
    [git]='rm -rf "$OWN/g" && git init -q "$OWN/g" && cd "$OWN/g" && split -n 40 "$INPUT" p && git add . &&
        git -c user.name=a -c user.email=a@b commit -qm x && git -c pack.threads=2 repack -qadf && git fsck --full 2>/dev/null &&
        git grep --threads 2 -c 99 | sha256sum; git rev-parse "HEAD^{tree}"'
    [lld]='for i in $(seq 12); do ld.lld --threads=2 --gc-sections -shared -o "$OWN/l$i" "$BIN"/*.o; sha256sum <"$OWN/l$i"; done'
    [node]='node -e "const c = require(\"crypto\"), z = require(\"zlib\"); let n = 0; const d = Buffer.alloc(1 << 20, \"abcdefg\");
        for (let i = 0; i < 4; i++) { c.pbkdf2(\"p\" + i, \"s\", 40000, 32, \"sha256\", (e, k) => { n += k[0] });
        z.deflate(d, { level: 9 }, (e, b) => { n += b.length * 1000 }) }; process.on(\"exit\", () => console.log(n))"'
    [java]='java -XX:-UsePerfData -Xmx256m -cp "$BIN" Work'
    [python]='/usr/bin/python3 "$BIN/work.py" "$INPUT"'
    [redis]='bash "$BIN/redis.sh"'
    [curl]='cd "$OWN" && /usr/bin/python3 "$BIN/serve.py" "$INPUT"'
)

# Those without which the machine must do.
declare -A needs=([unxz]=xz [7z-bzip2]=7z [sort-keys]=sort [lld]=ld.lld [python]=/usr/bin/python3 [redis]=redis-benchmark [java]=javac)

inputs_make() {
    local i
    export INPUT=$BIN/input
    [[ -e $BIN/complete ]] && return
    awk 'BEGIN { for (i = 0; i < 110000; i++) { x = (x * 69069 + 12345) % 65536; print x % 997, i * 7 % 1013, "word" x % 31 } }' >"$INPUT"
    ! command -v xz >/dev/null || xz -3 --block-size=300000 -c "$INPUT" >"$INPUT.xz"
    for i in big_switch numbers; do
        gcc -O1 -g -fPIC -ffunction-sections -c -o "$BIN/$i.o" "$SRC/$i.c"
        objcopy --redefine-sym "main=main_of_$i" "$BIN/$i.o"
    done
    cat >"$BIN/work.py" <<'END'
import concurrent.futures, hashlib, re, subprocess, sys, threading, zlib
data = open(sys.argv[1], "rb").read()
def work(k):
    part = data[k * 100000:(k + 1) * 100000]
    words = {}
    for w in part.split():
        words[w] = words.get(w, 0) + 1
    return hashlib.sha256(zlib.compress(part, 9) + str(sorted(words.items())).encode() + str(len(re.findall(rb"9+ w", part))).encode()).hexdigest()[:12]
with concurrent.futures.ThreadPoolExecutor(3) as pool:
    print(list(pool.map(work, range(10))))
threads = [threading.Thread(target=subprocess.run, args=(["/bin/true"],)) for _ in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(subprocess.run(["sha256sum"], input=data, capture_output=True).stdout)
END
    cat >"$BIN/serve.py" <<'END'
import hashlib, http.server, subprocess, sys, threading
data = open(sys.argv[1], "rb").read()
class H(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        k = int(self.path[1:])
        b = data[k * 1000:k * 1000 + 50000 * (k % 7)]
        self.send_response(200); self.send_header("Content-Length", str(len(b))); self.end_headers(); self.wfile.write(b)
    def log_message(self, *a): pass
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
threading.Thread(target=s.serve_forever, daemon=True).start()
port = s.server_address[1]
out = subprocess.run(["curl", "-sSZ", "--no-progress-meter", "--parallel-max", "4", f"http://127.0.0.1:{port}/[0-60]", "-o", "f#1"]).returncode
h = hashlib.sha256()
for k in range(61): h.update(open(f"f{k}", "rb").read() if k % 7 else b"")
print(out, h.hexdigest())
END
    cat >"$BIN/redis.sh" <<'END'
port=$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --port "$port" --bind 127.0.0.1 --save '' --appendonly yes --io-threads 2 --io-threads-do-reads yes --dir "$OWN" --logfile /dev/null &
server=$!
for ((i = 0; i < 300; i++)); do
    [[ $(redis-cli -p "$port" ping 2>/dev/null) == PONG ]] && break
    sleep 0.05
done
redis-benchmark -p "$port" -t set,get,incr,lpush,zadd -n 12000 -P 8 -c 8 -r 1000 -q --threads 2 >/dev/null && echo loaded
redis-cli -p "$port" flushall async
for ((i = 0; i < 300; i++)); do printf 'SET key%d value%d\nZADD set %d m%d\nLPUSH l%d x%d\n' $i $i $((i * 7919 % 1000)) $i $((i % 7)) $i; done |
    redis-cli -p "$port" | sha256sum
redis-cli -p "$port" bgrewriteaof >/dev/null
redis-cli -p "$port" sort l3 alpha limit 0 4
redis-cli -p "$port" zrange set 0 3
redis-cli -p "$port" eval 'local s = 0 for i = 1, 200000 do s = (s * 31 + i) % 1000003 end return s' 0
kill "$server"
wait "$server"
echo "status $?"
rm -rf "$OWN"/appendonlydir
END
    cat >"$BIN/Work.java" <<'END'
import java.util.*;
import java.util.concurrent.*;
public class Work {
    public static void main(String[] a) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(3);
        List<Future<Long>> all = new ArrayList<>();
        for (int k = 0; k < 6; k++) {
            final int q = k;
            all.add(pool.submit(() -> {
                long h = q;
                Map<Integer, Integer> m = new HashMap<>();
                for (int i = 0; i < 150000; i++) { h = h * 31 + i; m.merge((int) (h & 1023), 1, Integer::sum); }
                return h + m.size();
            }));
        }
        for (Future<Long> f : all) System.out.println(f.get());
        pool.shutdown();
    }
}
END
    ! command -v javac >/dev/null || javac -d "$BIN" "$BIN/Work.java"
    touch "$BIN/complete"
}

build_all() {
    mkdir -p "$BIN"
    BIN=$BIN "$here/cases.sh" --build >/dev/null
    gcc -std=gnu2x -O2 -pthread -o "$BIN/pool" "$here/more/pool.c"
    gcc -std=gnu2x -O2 -pthread -o "$BIN/threads_dlclose" "$here/faults/threads_dlclose.c"
    inputs_make
    for how in apart together across; do
        commands[unload-$how]="\"\$BIN/threads_dlclose\" $how \"\$BIN/libplug_a.so\" \"\$BIN/libplug_b.so\""
    done
    # shellcheck disable=SC2016 # the inner shell expands them
    commands[pool]='"$BIN/pool" 2 300; "$BIN/pool" 7 150'
    local name program arguments how
    while read -r name; do
        program=${name%%.*} arguments=
        [[ $name != *.* ]] || arguments=$(tr - ' ' <<<"${name#*.}")
        [[ " ${programs[*]} " != *" $program "* ]] || commands[$name]="\"\$BIN/$program\" $arguments"
    done < <("$here/cases.sh" --list)
}

case_names() {
    local name need
    for name in "${!commands[@]}"; do
        need=${needs[$name]-$name}
        # shellcheck disable=SC2016 # as it stands there
        if compare_wanted "$name" && { [[ ${commands[$name]} == '"$BIN'* ]] || command -v "$need" >/dev/null; }; then
            echo "$name"
        fi
    done | sort
}

# $1: name; $2: number of the run, none for native; $3: configuration.
run_case() {
    local name=$1
    export OWN=$COMPARE_DIR/$name/own${2-}
    mkdir -p "$OWN"
    COMPARE_COMMAND=(/bin/bash -c "${commands[$name]}")
    if [[ -z ${2-} ]]; then
        compare_native "$name"
        return
    fi
    compare_split "$3"
    local results=$COMPARE_DIR/$name/$2.$3 why
    compare_execute "$results" "$REHEAT_BIN" run "${compare_options[@]}" --
    why=$(compare_difference "$COMPARE_DIR/$name/native" "$results")
    if [[ -z $why ]]; then
        echo "ok - $name [$3]"
        rm -r "$results"
    else
        echo "not ok - $name [$3] # $why; see ${results#"$compare_root"/}"
    fi | tee -a "$COMPARE_DIR/results"
    rm -rf "$OWN"
}

runs=200 seed=$RANDOM rest=() list=
while [[ $# -gt 0 ]]; do
    case $1 in
        -n) runs=$2; shift 2 ;;
        -s) seed=$2; shift 2 ;;
        --list) list=1; shift ;;
        *) rest+=("$1"); shift ;;
    esac
done
given=0
[[ " ${rest[*]-} " != *" -c "* ]] || given=1
compare_configs ${rest[@]+"${rest[@]}"}
[[ $given == 0 ]] || configs=("${COMPARE_CONFIGS[@]}")
build_all
mapfile -t names < <(case_names)
if [[ -n $list ]]; then
    printf '%s\n' "${names[@]}"
    exit 0
fi
printf '%s\n' "${names[@]}" | compare_each run_case
RANDOM=$seed
for ((i = 0; i < runs; i++)); do
    echo "${names[RANDOM % ${#names[@]}]} $i ${configs[RANDOM % ${#configs[@]}]}"
done | compare_each run_case
sed -n 's/^\(not \)\?ok - \([^ ]*\) .*/\2/p' "$COMPARE_DIR/results" | sort | uniq -c | awk '{ printf "%s %s, ", $2, $1 } END { print "seed '"$seed"'" }'
compare_close ""
