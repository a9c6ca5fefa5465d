# Functions of the scripts that use Debian packages without installing them. `download` and `unpack` use
# the current directory.

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

# Lets apt use the sources.list, the lists and the cache of a directory instead of those of the machine.
separate_apt() {
    mkdir -p "$1/lists/partial" "$1/archives/partial"
    : >"$1/status"
    cat >"$1/apt.conf" <<END
Dir::Etc::sourcelist "$1/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$1/lists";
Dir::State::status "$1/status";
Dir::Cache "$1";
APT::Sandbox::User "root";
END
    export APT_CONFIG="$1/apt.conf"
}
