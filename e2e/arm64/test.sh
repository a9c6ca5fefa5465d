#!/bin/sh
# Tests the programs for arm64 in DIR, which the kernel has to execute: `make test-arm64`.
#
#   e2e/arm64/test.sh DIR FILTER...
set -eu

cd "$(dirname "$0")/../.."
dir=$(realpath "$1")
shift
target=aarch64-unknown-linux-gnu

CNI_COMMAND=VERSION "$dir/plexus"
echo
"$dir/plexusd" --version
cargo test --locked --target $target --config "target.$target.linker=\"aarch64-linux-gnu-gcc\"" \
    --package plexus-api --package plexus
# The demo, the tests and the plugins run natively. They execute the programs in DIR.
PLEXUS_BIN_DIR=$dir cargo run --locked --package plexus-e2e --bin demo
for filter in "$@"; do
    PLEXUS_BIN_DIR=$dir cargo test --locked --package plexus-e2e --test operations "$filter"
done
