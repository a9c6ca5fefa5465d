#!/bin/sh
# Runs the tests in the virtual machine, and ends the machine. The last line has the exit status.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export PLEXUS_E2E_SRIOV=0000:01:00.0
[ -n "$CNI_BIN_DIR" ] || unset CNI_BIN_DIR
card=/sys/bus/pci/devices/$PLEXUS_E2E_SRIOV

end() {
    echo "exit status $1"
    sync
    # QEMU ends instead of a reboot.
    echo b >/proc/sysrq-trigger
}

ip link set lo up
echo 4 >"$card/sriov_numvfs" || end 1
waits=0
for number in 0 1 2 3; do
    until ls "$card/virtfn$number/net"/* >/dev/null 2>&1; do
        waits=$((waits + 1))
        [ $waits -le 600 ] || { echo "the virtual function $number has no interface"; end 1; }
        sleep 0.1
    done
done
cd "$dir" || end 1
"$tests" --test-threads 1 --nocapture $arguments </dev/null
end $?
