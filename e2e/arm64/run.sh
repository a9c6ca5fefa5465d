#!/bin/sh
# Runs a command in a user namespace in which the kernel executes programs for arm64 with QEMU. The
# machine is not changed. Requires Linux 6.7 or newer, in which each user namespace has its own
# binfmt_misc.
#
#   e2e/arm64/run.sh COMMAND [ARGUMENT...]
set -eu

if [ "${1:-}" != --registered ]; then
    if ! command -v qemu-aarch64-static >/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            { apt-get install -qq -y --no-install-recommends qemu-user-static ||
                { apt-get update -qq && apt-get install -qq -y --no-install-recommends qemu-user-static; }; } >&2
        else
            echo "qemu-aarch64-static is missing: install it (on Debian the package qemu-user-static)" >&2
            exit 1
        fi
    fi
    exec unshare --user --map-root-user --mount "$0" --registered "$@"
fi
shift
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc || {
    echo "this kernel has no binfmt_misc for user namespaces: Linux 6.7 or newer is required" >&2
    exit 1
}
# The first bytes of an ELF file for aarch64, and which of their bits count. F opens the emulator now, so
# that it is also found in other mount namespaces; P passes the first argument on.
magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00'
mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
printf '%s' ":aarch64:M::$magic:$mask:$(command -v qemu-aarch64-static):FP" >/proc/sys/fs/binfmt_misc/register
exec "$@"
