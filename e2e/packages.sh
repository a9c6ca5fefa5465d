# Functions of the scripts that unpack Debian packages; source this file in the directory that gets
# the packages.

# Ends the script: its tests cannot run on this machine.
skip() {
    echo "$1" >&2
    exit 77
}

# Downloads a package without installing it.
download() {
    apt-get download -qq "$1" >&2 && return
    [ "$(id -u)" = 0 ] || return
    apt-get update -qq >&2 && apt-get download -qq "$1" >&2
}

# Unpacks a package into a directory of its name, unless the directory exists.
unpack() {
    [ -d "$1" ] && return
    rm -f "$1"_*.deb
    download "$1" || skip "the Debian package $1 cannot be downloaded: run apt-get update"
    dpkg-deb --extract "$1"_*.deb "$1.new"
    rm "$1"_*.deb
    mv "$1.new" "$1"
}
