# shellcheck shell=bash
# The list in programs.tsv as bash functions. Sourced.
#
#   programs_names              the names, one a line
#   programs_load NAME WORKDIR OUTPUT
#                               sets PROGRAM_STDIN, PROGRAM_OUTPUT (empty: none) and the array PROGRAM_COMMAND
#
# Sourcing it also fixes the environment that the outputs depend on.

programs_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs_cc1=

for programs_name in "${!PYTHON@}" "${!PERL@}" "${!LUA_@}" XZ_OPT XZ_DEFAULTS BZIP BZIP2 GZIP ZSTD_CLEVEL AWKPATH; do
    unset "$programs_name"
done
export LC_ALL=C TZ=UTC PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1 PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0

programs_names() {
    grep -v '^#' "$programs_here/programs.tsv" | cut -f 1
}

# Replaces the placeholders in $1, given the directory $2 and the output file $3.
programs_expand() {
    local text=$1
    if [[ $text == *%cc1* ]]; then
        [[ -n $programs_cc1 ]] || programs_cc1=$(/usr/bin/gcc -print-prog-name=cc1)
        text=${text//%cc1/$programs_cc1}
    fi
    text=${text//%w/$2}
    text=${text//%s/$programs_here/workloads}
    text=${text//%k/$(cat "$2/scale")}
    printf '%s\n' "${text//%o/$3}"
}

programs_load() {
    local line stdin output command
    line=$(grep "^$1"$'\t' "$programs_here/programs.tsv") || return 1
    IFS=$'\t' read -r _ stdin output command <<<"$line"
    PROGRAM_STDIN=/dev/null PROGRAM_OUTPUT=
    [[ $stdin == - ]] || PROGRAM_STDIN=$(programs_expand "$stdin" "$2" "$3")
    # shellcheck disable=SC2034 # read by the caller
    [[ $output == - ]] || PROGRAM_OUTPUT=$(programs_expand "$output" "$2" "$3")
    # Neither the list nor the expanded paths may hold spaces.
    read -r -a PROGRAM_COMMAND <<<"$(programs_expand "$command" "$2" "$3")"
    [[ -x ${PROGRAM_COMMAND[0]} && -r $PROGRAM_STDIN ]]
}
