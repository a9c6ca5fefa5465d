#!/bin/sh
# Prepares the virtual machine of `make e2e-sriov` in the directory DIR: a kernel, an initial file
# system and QEMU. Needs Debian or a distribution made from it. Installs QEMU if root; everything
# else is only unpacked into DIR.
#
#   e2e/sriov/setup.sh DIR
#
# Exits with status 77 if the machine cannot be prepared here, and prints the reason on stderr.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
cd "$1"
. "$here/../packages.sh"
# The modules of the machine: its root file system, its network card, and the links of the tests.
modules="virtio_pci 9pnet_virtio 9p overlay igb igbvf bridge veth"

# The emulated card igb came with QEMU 8.
has_qemu() {
    version=$(qemu-system-x86_64 --version 2>/dev/null | sed -n 's/^QEMU emulator version \([0-9]*\)\..*/\1/p')
    [ "${version:-0}" -ge 8 ]
}

# Prints the sources of apt, with the backports of this release, which may have a newer QEMU.
sources() {
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep debian | head -n 1)
    . /etc/os-release
    echo "deb ${mirror:-http://deb.debian.org/debian} $VERSION_CODENAME-backports main"
    cat /etc/apt/sources.list 2>/dev/null || true
}

install_qemu() {
    export DEBIAN_FRONTEND=noninteractive
    packages="qemu-system-x86"
    candidate=$(apt-cache policy qemu-system-x86 | sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}\([0-9]*\)\..*/\2/p')
    if [ "${candidate:-0}" -ge 8 ]; then
        apt-get install -qq -y --no-install-recommends $packages
        return
    fi
    mkdir -p apt/lists/partial
    sources >apt/sources.list
    # Lists of its own: the next `apt-get upgrade` of the machine does not see the backports.
    set -- -o "Dir::Etc::SourceList=$PWD/apt/sources.list" -o "Dir::State::Lists=$PWD/apt/lists"
    . /etc/os-release
    apt-get "$@" -qq update
    apt-get "$@" -qq -y --no-install-recommends -t "$VERSION_CODENAME-backports" install $packages
}

# Prints the files of a module and of all modules that it needs, in the order in which they are
# loaded. Built-in modules have no file.
with_dependencies() {
    line=$(grep "/$1\.ko[.a-z]*:" "$tree/modules.dep") || return 0
    for file in ${line#*:}; do
        name=${file##*/}
        with_dependencies "${name%%.ko*}"
    done
    line=$(grep "/$1\.ko[.a-z]*:" "$tree/modules.dep")
    echo "${line%%:*}"
}

[ "$(uname -m)" = x86_64 ] || skip "the machine is for x86_64"
command -v apt-get >/dev/null || skip "apt-get is missing: kernel and QEMU are Debian packages"
if ! has_qemu; then
    [ "$(id -u)" = 0 ] || skip "QEMU 8 or newer is missing: install qemu-system-x86, on Debian 12 from bookworm-backports"
    echo "installing qemu-system-x86" >&2
    { install_qemu && has_qemu; } >&2 || skip "QEMU 8 or newer cannot be installed: see the messages above"
fi

kernel=$(apt-cache depends --important linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$kernel" ] || skip "apt does not know linux-image-amd64: run apt-get update"
version=${kernel#linux-image-}
unpack "$kernel"
unpack busybox-static
busybox=$PWD/busybox-static/bin/busybox
[ -x "$busybox" ] || busybox=$PWD/busybox-static/usr/bin/busybox
base=$PWD/$kernel
[ -d "$base/lib/modules" ] || base=$PWD/$kernel/usr
tree=$base/lib/modules/$version
[ -e "$tree/modules.dep" ] || "$busybox" depmod -b "$base" "$version"

rm -rf initrd
mkdir -p initrd/bin initrd/modules
cp "$busybox" initrd/bin/
ln -s busybox initrd/bin/sh
cp "$here/init.sh" initrd/init
number=10
for file in $(for module in $modules; do with_dependencies "$module"; done | awk '!seen[$0]++'); do
    name=${file##*/}
    target=initrd/modules/$number-${name%%.ko*}.ko
    case $name in
    *.xz) xz --decompress --stdout "$tree/$file" >"$target" ;;
    *.zst) zstd --decompress --stdout "$tree/$file" >"$target" ;;
    *) cp "$tree/$file" "$target" ;;
    esac
    number=$((number + 1))
done
(cd initrd && find . | "$busybox" cpio -o -H newc) 2>/dev/null | gzip -1 >initrd.gz
ln -sfn "$kernel/boot/vmlinuz-$version" vmlinuz
