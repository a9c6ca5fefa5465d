//! Settings of glibc's memory allocator, which reads them from the environment when a process
//! starts.
//!
//! By default, freed memory stays with the process: after a large block was freed, the allocator
//! takes blocks of that size from heaps that shrink only at their end, and there are eight heaps for
//! each CPU.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Few heaps, and separate mappings for large blocks, which are given back at once.
const SETTINGS: [(&str, &str); 3] = [
    ("MALLOC_ARENA_MAX", "2"),
    ("MALLOC_MMAP_THRESHOLD_", "65536"),
    ("MALLOC_TRIM_THRESHOLD_", "131072"),
];

/// Executes this program again with the settings, unless the environment already has one of them.
/// If that fails, the process continues without them.
pub fn configure() {
    if SETTINGS.iter().any(|(name, _)| env::var_os(name).is_some()) {
        return;
    }
    let (Ok(program), mut args) = (env::current_exe(), env::args_os()) else {
        return;
    };
    let mut command = Command::new(program);
    if let Some(name) = args.next() {
        command.arg0(name);
    }
    // Returns only if it fails. The daemon works without the settings, with more memory.
    let _ = command.args(args).envs(SETTINGS).exec();
}
