#!/bin/sh
# Runs a command that may create namespaces: directly if this user may create them, otherwise as
# root in a new user namespace.
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
echo "cannot create network and mount namespaces. Either
  run as root (in a container, with CAP_SYS_ADMIN and CAP_NET_ADMIN, for example with docker run --privileged), or
  allow user namespaces: sysctl -w user.max_user_namespaces=10000
  (Debian 10: kernel.unprivileged_userns_clone=1; Ubuntu 24.04: kernel.apparmor_restrict_unprivileged_userns=0)" >&2
exit 1
