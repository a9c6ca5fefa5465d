#!/bin/sh
# Runs the tests in user-mode Linux, and ends it. The last line has the exit status.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
export PLEXUS_E2E_KERNEL=1
[ -n "$CNI_BIN_DIR" ] || unset CNI_BIN_DIR
[ -n "$CI" ] || unset CI

# The kernel and iptables load modules when a link, a rule or a queue needs them.
[ -e /sbin/modprobe ] || ln -s "$machine/busybox" /sbin/modprobe
# The settings of IPv6 exist only once the module is loaded.
/sbin/modprobe ipv6
# The kernel has no nftables for IPv4 and IPv6.
for program in iptables ip6tables; do
    for command in "" -save -restore; do
        ln -sf xtables-legacy-multi "/usr/sbin/$program$command"
    done
done
ip link set lo up

cd "$dir" || exit
status=0
while read -r tests filters; do
    # A filter is a word.
    # shellcheck disable=SC2086
    "$tests" --test-threads 2 --nocapture $filters </dev/null || status=$?
done <"$machine/tests"
echo "exit status $status"
echo o >/proc/sysrq-trigger
sleep 60
