#!/bin/sh
# Installs what the build, the demo and the tests need besides Rust, or lists what is missing:
# - a C compiler, which Rust uses as the linker
# - iproute2
# - the reference CNI plugins, unless CNI_BIN_DIR is set to a directory that contains them
# - in CI, as root: containerd, runc and promtool
#
# Exits with status 0 if everything is installed. Otherwise prints one message on stderr.
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

# The error of an older cargo, which cannot read the workspace, does not mention the Rust version.
required=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$(dirname "$0")/../Cargo.toml")
installed=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || true
if [ "$(printf '%s\n' "$required" "$installed" | sort -V | head -n 1)" != "$required" ]; then
    echo "Rust $required or newer is required, but cargo on the PATH is ${installed:-missing}: install Rust from https://rustup.rs" >&2
    exit 1
fi

packages=
PATH=$PATH:/usr/sbin:/sbin
command -v cc >/dev/null || packages="gcc libc6-dev"
command -v ip >/dev/null || packages="$packages iproute2"
if ! has_plugins; then
    if [ -n "${CNI_BIN_DIR:-}" ]; then
        echo "CNI_BIN_DIR=$CNI_BIN_DIR does not contain the CNI plugins $plugins" >&2
        exit 1
    fi
    packages="$packages containernetworking-plugins"
fi
# Only in CI: on a developer's machine, the packages could replace another installation of containerd,
# and start services.
if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ]; then
    command -v containerd >/dev/null || packages="$packages containerd"
    command -v runc >/dev/null || packages="$packages runc"
    command -v promtool >/dev/null || packages="$packages prometheus"
fi
[ -z "$packages" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing$(printf ' %s' $packages)" >&2
    export DEBIAN_FRONTEND=noninteractive
    if ! { apt-get install -qq -y --no-install-recommends $packages ||
        { apt-get update -qq && apt-get install -qq -y --no-install-recommends $packages; }; } >&2; then
        echo "cannot install$(printf ' %s' $packages): see the messages above" >&2
        exit 1
    fi
    exit 0
fi
echo "missing:$(printf ' %s' $packages)
  as root:  apt-get install$(printf ' %s' $packages)
  The CNI plugins can also be in /opt/cni/bin, or in another directory: CNI_BIN_DIR=/path/to/plugins make ..." >&2
exit 1
