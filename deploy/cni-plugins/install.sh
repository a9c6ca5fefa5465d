#!/bin/sh
# Copies the plugins that a node lacks. A file that exists, whatever its version or origin, is kept.
#
#   install.sh [FROM [TO]]
set -eu

from=${1:-/plugins}
to=${2:-/opt/cni/bin}

# Temporary files of runs that were killed.
find "$to" -maxdepth 1 -name '.plexus-cni-plugins.*' -mmin +60 -exec rm -f {} +

for plugin in "$from"/*; do
    name=${plugin##*/}
    if [ -e "$to/$name" ] || [ -L "$to/$name" ]; then
        echo "$to/$name exists"
        continue
    fi
    temporary=$(mktemp "$to/.plexus-cni-plugins.XXXXXX")
    cp "$plugin" "$temporary"
    chmod 755 "$temporary"
    sync "$temporary"
    # Unlike mv, ln never replaces a file that another program has created in the meantime.
    if ln "$temporary" "$to/$name"; then
        echo "$to/$name installed"
    elif [ ! -e "$to/$name" ]; then
        rm -f "$temporary"
        exit 1
    fi
    rm -f "$temporary"
done
