#!/bin/sh
# Runs tiers of tests, one after the other, and prints which of them ran and which were skipped and
# why. Without arguments, runs all tiers.
#
#   e2e/tiers.sh [node] [containerd] [kernel] [sriov] [kubernetes]
#
# The command of a tier exits with status 77 if the tier cannot run here; its last line is the
# reason.
set -u

cd "$(dirname "$0")/.." || exit 1
skipped=${CARGO_TARGET_DIR:-target}/skipped-tests.txt
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0

# Prints the options of cargo for all test binaries except that of containerd.
node_tests() {
    printf -- '--lib --bins'
    for tests in e2e/tests/*.rs e2e/tests/*/main.rs e2e/apiserver/tests/*/main.rs; do
        name=${tests%/main.rs}
        name=$(basename "$name" .rs)
        [ "$name" = containerd ] || printf -- ' --test %s' "$name"
    done
}

run() {
    case $1 in
    node | containerd)
        e2e/setup.sh && cargo build --locked --workspace --bins || return
        [ "$1" = node ] && tests=$(node_tests) || tests="--test containerd"
        # shellcheck disable=SC2086
        e2e/in-node.sh cargo test --locked --package plexus-e2e --package plexus-apiserver $tests --no-fail-fast
        ;;
    kernel | sriov | kubernetes) e2e/setup.sh && "e2e/$1/run.sh" ;;
    *)
        echo "no tier $1" >&2
        return 2
        ;;
    esac
}

# Prints the line of a tier from its exit status, its log and its list of skipped tests.
summary() {
    case $2 in
    77) echo "skipped: $(tail -n 1 "$work/log")" ;;
    *)
        sed -n 's/^test result: .* \([0-9]*\) passed; \([0-9]*\) failed;.*/\1 \2/p' "$work/log" |
            awk -v skipped="$(wc -l <"$work/$1")" -v status="$2" '{ passed += $1; failed += $2 }
                END {
                    printf "%d passed, %d failed, %d skipped", passed - skipped, failed, skipped
                    print status && !failed ? ", but the command failed" : ""
                }'
        ;;
    esac
}

[ $# -gt 0 ] || set -- node containerd kernel sriov kubernetes
mkdir -p "$(dirname "$skipped")"
for tier in "$@"; do
    : >"$skipped"
    # If the user interrupts the tests, tee prints the results until then.
    { run "$tier" 2>&1; echo $? >"$work/status"; } | tee -i "$work/log"
    result=$(cat "$work/status")
    # Virtual machines do not write to this list, but print the same lines.
    { cat "$skipped"; grep -o 'skipped [a-z0-9_:]*: .*' "$work/log" | cut -d ' ' -f 2-; } | sort -u >"$work/$tier"
    printf '  %-12s%s\n' "$tier" "$(summary "$tier" "$result")" >>"$work/tiers"
    [ "$result" = 0 ] || [ "$result" = 77 ] || status=1
done
for tier in "$@"; do
    [ ! -s "$work/$tier" ] || { echo "skipped in $tier:"; sed 's/^/  /' "$work/$tier"; }
done
echo "tiers:"
cat "$work/tiers"
exit $status
