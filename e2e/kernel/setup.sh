#!/bin/sh
# Prepares the kernel of `make e2e-kernel` in the directory DIR: user-mode Linux, its modules, and
# busybox, which loads them. Needs Debian or a distribution made from it. Installs nothing: the
# packages are only unpacked into DIR.
#
#   e2e/kernel/setup.sh DIR
#
# Exits with status 77 if the kernel cannot run here, and prints the reason on stderr.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
. "$here/../packages.sh"

[ "$(uname -m)" = x86_64 ] || skip "the kernel is for x86_64"
command -v apt-get >/dev/null || skip "apt-get is missing: user-mode Linux is a Debian package"
unpack user-mode-linux
unpack busybox-static
ln -sfn user-mode-linux/usr/bin/linux.uml linux
ln -sfn user-mode-linux/usr/lib/uml/modules modules
busybox=busybox-static/bin/busybox
[ -x "$busybox" ] || busybox=busybox-static/usr/bin/busybox
ln -sfn "$busybox" busybox
