#!/bin/sh
# Runs a command with the right to make namespaces: as it is for root, else as root of a user namespace of its own.
#
#   e2e/in-node.sh COMMAND [ARGUMENT...]
set -eu

PATH=$PATH:/usr/sbin:/sbin
export PATH
if unshare -mn true 2>/dev/null; then
    exec "$@"
fi
if unshare -Urmn true 2>/dev/null; then
    exec unshare -Urm "$@"
fi
echo "network and mount namespaces cannot be made here. Either
  run as root (in a container: with CAP_SYS_ADMIN and CAP_NET_ADMIN, as docker run --privileged has them), or
  allow user namespaces: sysctl -w user.max_user_namespaces=10000
  (Debian 10: kernel.unprivileged_userns_clone=1; Ubuntu 24.04: kernel.apparmor_restrict_unprivileged_userns=0)" >&2
exit 1
