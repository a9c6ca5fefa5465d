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
# Static programs need no C library for arm64. The skipped tests fail because of QEMU: programs start
# slowly, get their environment in reverse order, and end with status 127 if they cannot be executed.
unit_tests() {
    RUSTFLAGS="-C target-feature=+crt-static" cargo test --locked --target $target \
        --config "target.$target.linker=\"aarch64-linux-gnu-gcc\"" "$@"
}
unit_tests --package plexus-api --package plexus -- --skip version_does_not_wait_for_stdin \
    --skip variables_beyond_the_limit_are_dropped
unit_tests --package plexusd --lib -- --skip a_program_starts_after_its_writer_has_closed_it \
    --skip the_error_of_a_failed_start_names_the_plugin --skip a_start_error_is_returned
# The demo, the tests and the plugins run natively. They execute the programs in DIR.
PLEXUS_BIN_DIR=$dir cargo run --locked --package plexus-e2e --bin demo
for filter in "$@"; do
    PLEXUS_BIN_DIR=$dir cargo test --locked --package plexus-e2e --test operations "$filter"
done
