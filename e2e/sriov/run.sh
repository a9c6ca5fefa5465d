#!/bin/sh
# Runs the tests of virtual functions in a virtual machine with an emulated SR-IOV card: QEMU
# without KVM, over the file system of the host, which is not changed. The arguments are passed to
# the tests.
#
#   e2e/sriov/run.sh [FILTER...]
#
# CNI_BIN_DIR is a directory with host-device, and with sriov if its test is to run. Exits with
# status 77 if the machine cannot run here.
set -eu

cd "$(dirname "$0")/../.."
machine=${CARGO_TARGET_DIR:-target}/sriov
e2e/sriov/setup.sh "$machine"
cargo build --locked --workspace --bins
tests=$(cargo test --locked --package plexus-e2e --test sriov --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*\/sriov-[^"]*\)".*/\1/p')

log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Parameters that the kernel does not know are variables of the first process.
timeout 1200 qemu-system-x86_64 \
    -accel tcg -machine q35 -smp 2 -m 1024 \
    -nodefaults -no-user-config -no-reboot -display none -serial stdio \
    -kernel "$machine/vmlinuz" -initrd "$machine/initrd.gz" \
    -append "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off net.ifnames=0 \
guest=$PWD/e2e/sriov/guest.sh dir=$PWD/e2e tests=$tests CNI_BIN_DIR=${CNI_BIN_DIR:-} \"arguments=$*\"" \
    -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap \
    -device virtio-9p-pci,fsdev=host,mount_tag=host \
    -device virtio-rng-pci \
    -netdev user,id=uplink,restrict=on \
    -device pcie-root-port,id=slot1,slot=1 \
    -device igb,bus=slot1,netdev=uplink </dev/null | tr -d '\r' | tee "$log"
status=$(sed -n 's/^exit status \([0-9]*\)$/\1/p' "$log")
exit "${status:-1}"
