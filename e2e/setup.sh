#!/bin/sh
# Installs what the demo and the tests need beside Rust, or says exactly what is missing.
#
#   e2e/setup.sh        iproute2, and the reference CNI plugins unless CNI_BIN_DIR names a directory that has them
#
# Exit status 0: all is there. Otherwise one message on stderr.
set -eu

plugins="bridge macvlan host-local"
dirs=${CNI_BIN_DIR:-/usr/lib/cni /opt/cni/bin}

has_plugins() {
    for dir in $dirs; do
        found=yes
        for plugin in $plugins; do
            [ -x "$dir/$plugin" ] || found=no
        done
        [ $found = yes ] && return 0
    done
    return 1
}

packages=
PATH=$PATH:/usr/sbin:/sbin
command -v ip >/dev/null || packages="iproute2"
if ! has_plugins; then
    if [ -n "${CNI_BIN_DIR:-}" ]; then
        echo "CNI_BIN_DIR=$CNI_BIN_DIR must have the CNI plugins $plugins" >&2
        exit 1
    fi
    packages="$packages containernetworking-plugins"
fi
[ -z "$packages" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$(printf ' %s' $packages)" >&2
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get install -qq -y --no-install-recommends $packages ||
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends $packages; }; } >&2; then
        echo "could not install$(printf ' %s' $packages): see above" >&2
        exit 1
    fi
    exit 0
fi
echo "missing:$(printf ' %s' $packages)
  as root:  apt-get install$(printf ' %s' $packages)
  or put the CNI plugins $plugins into /opt/cni/bin, or name their directory: CNI_BIN_DIR=..." >&2
exit 1
