#!/bin/bash
# Prints a directory for KUBE_BIN with Kubernetes 1.20 from Debian. No release of Debian has packages of
# the control plane and kubelet, and Debian 12 is the last one with their sources, so they are compiled
# the first time, in about 20 minutes. Changes nothing outside of the directory, which is
# $XDG_CACHE_HOME/plexus/kubernetes/debian-12.
set -euo pipefail

. "$(dirname "$0")/../packages.sh"

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/plexus/kubernetes/debian-12
PROGRAMS="kube-apiserver kube-controller-manager kube-scheduler kubelet"

fail() {
    echo "cannot build Kubernetes from Debian's sources: $1; set KUBE_BIN to a directory with its programs" >&2
    exit 1
}

mkdir -p "$CACHE"
exec 9>"$CACHE/lock"
flock 9
if [ -d "$CACHE/bin" ]; then
    echo "$CACHE/bin"
    exit
fi
for program in apt-get dpkg-source make rsync cc; do
    command -v "$program" >/dev/null || fail "$program is missing"
done
echo "building Kubernetes from Debian's sources in $CACHE" >&2
rm -rf "$CACHE/build"
mkdir -p "$CACHE"/build/{bin,tools}
cd "$CACHE/build"

# The lists of Debian 12 and 13, whatever release this machine has. Debian 12's kubectl is too old for
# the kustomizations in deploy/.
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep --max-count 1 '/debian/$' || true)
[ -n "$archive" ] || fail "this machine has no archive of Debian"
keyring='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
cat >sources.list <<END
deb $keyring $archive bookworm main
deb-src $keyring $archive bookworm main
deb $keyring $archive trixie main
END
separate_apt "$PWD"
{
    apt-get update -qq &&
        apt-get download -qq etcd-server/bookworm kubectl/trixie golang-1.19-go/bookworm golang-1.19-src/bookworm \
            golang-github-modern-go-reflect2-dev/bookworm &&
        apt-get source -qq kubernetes/bookworm
} >&2 || fail "a download failed"
for package in *.deb; do
    dpkg-deb --extract "$package" tools
done
cp tools/usr/bin/etcd tools/usr/bin/kubectl bin/

# The reflect2 of these sources corrupts memory if it is compiled with Go 1.18 or later.
reflect2=github.com/modern-go/reflect2
rm -r kubernetes-*/vendor/$reflect2
cp -r tools/usr/share/gocode/src/$reflect2 kubernetes-*/vendor/github.com/modern-go/

# Debian's Go finds its sources by absolute links.
ln -sfn "$PWD/tools/usr/share/go-1.19/src" tools/usr/lib/go-1.19/src
export PATH=$PWD/tools/usr/lib/go-1.19/bin:$PATH GOROOT=$PWD/tools/usr/lib/go-1.19 GOCACHE=$PWD/go-build GOFLAGS=-trimpath
make -C kubernetes-*/ WHAT="$(printf 'cmd/%s ' $PROGRAMS)" >&2 || fail "the build failed"
for program in $PROGRAMS; do
    cp kubernetes-*/_output/bin/"$program" bin/
done
bin/kubelet --version >&2
mv bin "$CACHE/bin"
cd "$CACHE"
rm -rf build
echo "$CACHE/bin"
