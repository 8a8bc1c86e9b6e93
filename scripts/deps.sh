#!/bin/bash
# Installs the Debian packages that a group of make targets needs; silent when nothing is missing.
#
#   scripts/deps.sh [--list] [build|test|more|bench|lint|all]...      default: build
#
# `more` is what tests/e2e/more.sh can use beyond `test`. It is apart because its servers are started by the package
# manager where there is systemd; what is missing there is skipped.
#
# As root it installs. Otherwise it prints the command to run and exits 1.
set -euo pipefail

packages_of() {
    case $1 in
        build) echo gcc libc6-dev make libzydis-dev libelf-dev libcmocka-dev pkg-config ;;
        test) echo gcc g++ csmith libcsmith-dev bzip2 gzip xz-utils zstd p7zip-full lua5.4 perl sqlite3 gawk \
            python3-minimal python3 ;;
        more) echo git openssl mawk procps nodejs clang redis-server nginx-light apache2-utils ;;
        bench) echo qemu-user valgrind ;;
        lint) echo clang-tidy cppcheck shellcheck clang-format ;;
        all) packages_of build; packages_of test; packages_of bench; packages_of lint ;;
        *)
            echo "deps.sh: unknown group '$1' (build, test, more, bench, lint, all)" >&2
            return 2
            ;;
    esac
}

is_installed() {
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

list_only=false
if [[ ${1-} == --list ]]; then
    list_only=true
    shift
fi
[[ $# -gt 0 ]] || set -- build

wanted=()
for group in "$@"; do
    names=$(packages_of "$group") || exit 2
    for name in $names; do
        [[ " ${wanted[*]-} " == *" $name "* ]] || wanted+=("$name")
    done
done

if $list_only; then
    printf '%s\n' "${wanted[@]}"
    exit 0
fi

if ! command -v dpkg-query >/dev/null; then
    echo "deps.sh: this is not a Debian system; needed are: ${wanted[*]}" >&2
    exit 1
fi

missing=()
for name in "${wanted[@]}"; do
    is_installed "$name" || missing+=("$name")
done
[[ ${#missing[@]} -gt 0 ]] || exit 0

if [[ $(id -u) -ne 0 ]]; then
    echo "deps.sh: packages are missing; run:" >&2
    echo "sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
    exit 1
fi

echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! { apt-get update -q && apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "deps.sh: installing failed" >&2
    exit 1
fi
