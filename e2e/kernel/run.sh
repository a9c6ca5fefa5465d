#!/bin/sh
# Runs the tests in tests.txt in user-mode Linux, a kernel that is a program: without root, without
# KVM, and over the file system of the host, which is not changed.
#
#   e2e/kernel/run.sh                     all tests in tests.txt
#   e2e/kernel/run.sh BINARY [FILTER...]  those of one test binary
#
# Exits with status 77 if the kernel cannot run here.
set -eu

cd "$(dirname "$0")/../.."
machine=${CARGO_TARGET_DIR:-target}/kernel
e2e/kernel/setup.sh "$machine"
machine=$(realpath "$machine")
[ $# -eq 0 ] && list=$(grep -v '^#' e2e/kernel/tests.txt) || list=$*

# Boots the kernel with these parameters, for at most SECONDS.
boot() {
    seconds=$1
    shift
    timeout --kill-after 10 "$seconds" "$machine/linux" mem=2G rootfstype=hostfs rootflags=/ ro \
        con=null con0=null,fd:1 quiet loglevel=1 panic=-1 "$@" </dev/null 2>/dev/null
}

starts() {
    boot 60 init=/bin/echo -- started | grep '^started' >/dev/null
}

# The memory of the kernel is a file from which programs are executed. The /dev/shm of a container is
# often too small or forbids that.
free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
[ "${free:-0}" -ge 2097152 ] || export TMPDIR="$machine"
starts || { export TMPDIR="$machine" && starts; } || {
    echo "user-mode Linux does not start here; it needs ptrace" >&2
    exit 77
}

cargo build --locked --workspace --bins
binaries=$(echo "$list" | cut -d ' ' -f 1)
# shellcheck disable=SC2046
built=$(cargo test --locked --package plexus-e2e $(printf -- '--test %s ' $binaries) --no-run --message-format json)
echo "$list" | while read -r binary filters; do
    tests=$(echo "$built" | sed -n "s/.*\"executable\":\"\([^\"]*\/$binary-[^\"]*\)\".*/\1/p")
    echo "$tests $filters"
done >"$machine/tests"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Parameters that the kernel does not know are variables of the first process.
boot 1800 init="$PWD/e2e/kernel/init.sh" \
    guest="$PWD/e2e/kernel/guest.sh" dir="$PWD/e2e" machine="$machine" \
    CI="${CI:-}" CNI_BIN_DIR="${CNI_BIN_DIR:-}" | sed -u 's|\r$||' | tee "$log"
status=$(sed -n 's/^exit status \([0-9]*\)$/\1/p' "$log")
exit "${status:-1}"
