#!/bin/sh
# Installs what building, the demo and the tests need beside Rust, or says exactly what is missing.
#
#   e2e/setup.sh        a C compiler, for the linker; iproute2; and the reference CNI plugins, unless CNI_BIN_DIR names a
#                       directory that has them; in CI, as root, containerd as well
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

# An older cargo cannot even read the workspace, and says so in words that help nobody.
wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
has=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || true
if [ "$(printf '%s\n' "$wanted" "$has" | sort -V | head -n 1)" != "$wanted" ]; then
    echo "Rust $wanted or newer is needed, cargo on the PATH is ${has:-missing}: https://rustup.rs installs it" >&2
    exit 1
fi

packages=
PATH=$PATH:/usr/sbin:/sbin
command -v cc >/dev/null || packages="gcc libc6-dev"
command -v ip >/dev/null || packages="$packages iproute2"
if ! has_plugins; then
    if [ -n "${CNI_BIN_DIR:-}" ]; then
        echo "CNI_BIN_DIR=$CNI_BIN_DIR must be a directory with the CNI plugins $plugins" >&2
        exit 1
    fi
    packages="$packages containernetworking-plugins"
fi
# Not on a machine of one's own: it may run another containerd, which this one would displace.
if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ]; then
    command -v containerd >/dev/null || packages="$packages containerd"
    command -v runc >/dev/null || packages="$packages runc"
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
  CNI plugins can also be put into /opt/cni/bin, or elsewhere: CNI_BIN_DIR=/that/directory make ..." >&2
exit 1
