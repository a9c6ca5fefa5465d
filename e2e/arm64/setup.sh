#!/bin/sh
# Prepares a cross build for CPU-unknown-linux-gnu, or says what is missing:
# - the C compiler of the target, which is also the linker
# - Rust's standard library for the target, of the installed version of Rust
#
#   e2e/arm64/setup.sh aarch64
#
# As root on Debian or Ubuntu, the script installs both. Without access to Rust's releases, it compiles
# the standard library from Debian's package of its sources.
set -eu

cd "$(dirname "$0")"
. ../packages.sh
cpu=$1
target=$cpu-unknown-linux-gnu
library=$(rustc --print target-libdir --target "$target")
version=$(rustc --version | cut -d ' ' -f 2)
debian=$(command -v apt-get || true)
[ "$(id -u)" = 0 ] || debian=

fail() {
    echo "$1" >&2
    exit 1
}

if ! command -v "$cpu-linux-gnu-gcc" >/dev/null; then
    # Debian's names of packages have no underscore.
    packages="gcc-$(echo "$cpu" | tr _ -)-linux-gnu"
    [ -n "$debian" ] || fail "$cpu-linux-gnu-gcc is missing: install it (on Debian the package $packages)"
    { apt-get install -qq -y "$packages" || { apt-get update -qq && apt-get install -qq -y "$packages"; }; } >&2
fi

has_std() {
    ls "$library"/libstd-*.rlib >/dev/null 2>&1
}
has_std || { command -v rustup >/dev/null && rustup target add "$target" 2>/dev/null; } || true
has_std && exit 0
missing="Rust $version has no standard library for $target: run rustup target add $target"
[ -n "$debian" ] || fail "$missing"

# The package may be only in another release of Debian than the installed one.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
archive=$(apt-get indextargets --format '$(REPO_URI)' | grep '/debian/$' | head -n 1)
for suite in stable-backports testing sid; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive $suite main"
done >"$work/sources.list"
separate_apt "$work"
apt-get update -qq >&2 || fail "$missing"
package=$(apt-cache madison rust-src | awk -v version="$version" '$3 ~ "^" version "\\+" { print $3; exit }')
[ -n "$package" ] || fail "$missing"
(cd "$work" && apt-get download -qq "rust-src=$package" && dpkg -x rust-src_*.deb sources) >&2
unset APT_CONFIG

# cargo looks for the sources in the installation of Rust, so this is a copy of it with hard links.
toolchain=$work/toolchain
cp -al "$(rustc --print sysroot)" "$toolchain" 2>/dev/null || cp -a "$(rustc --print sysroot)" "$toolchain"
mkdir -p "$toolchain/lib/rustlib/src/rust" "$work/std/src"
mv "$work"/sources/usr/src/rustc-"$version"/library "$toolchain/lib/rustlib/src/rust/"
: >"$work/std/src/lib.rs"
printf '[package]\nname = "empty"\nedition = "2024"\n' >"$work/std/Cargo.toml"
cat >"$work/rustc" <<'END'
#!/bin/sh
# panic_abort has to be compiled with the panic strategy that it provides.
case " $* " in *" --crate-name panic_abort "*) exec "$@" -C panic=abort ;; esac
exec "$@"
END
chmod +x "$work/rustc"
echo "compiling Rust's standard library $version for $target" >&2
# The bitcode is for link-time optimization. The paths in the messages of panics are those of Rust's releases.
sources=/rustc/$(rustc -vV | sed -n 's/^commit-hash: //p')
(cd "$work/std" && PATH="$toolchain/bin:$PATH" RUSTC="$toolchain/bin/rustc" RUSTC_WRAPPER="$work/rustc" RUSTC_BOOTSTRAP=1 \
    CARGO_TARGET_DIR="$work/target" RUSTFLAGS="-C embed-bitcode=yes -C force-unwind-tables=yes \
    --remap-path-prefix=$toolchain/lib/rustlib/src/rust=$sources" \
    "$toolchain/bin/cargo" build --quiet --release --target "$target" -Z build-std=std,panic_abort,panic_unwind,test,proc_macro) >&2
mkdir -p "$library"
find "$work/target/$target/release/deps" -name '*.rlib' ! -name 'libempty-*' -exec cp {} "$library/" \;
