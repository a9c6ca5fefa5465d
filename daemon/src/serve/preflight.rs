//! Checks at start-up, so that a missing permission is reported at once, and not by the first pod
//! that fails.

use std::fs::File;
use std::io;
use std::thread;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use crate::capabilities::{Capability, CapabilitySet};
use crate::config::{MountNamespace, Settings};

/// The capabilities that plexusd needs, each with its purpose.
const CAPABILITIES: [(Capability, &str); 4] = [
    (
        Capability::SysAdmin,
        "to enter the network namespaces of pods",
    ),
    (
        Capability::SysChroot,
        "to run plugins where mountNamespace or chrootDir says",
    ),
    (
        Capability::SysPtrace,
        "to find the processes of a network namespace, and plugins that an earlier plexusd left running",
    ),
    (Capability::NetAdmin, "to move default routes"),
];

/// Runs all checks.
///
/// # Errors
/// The first missing permission.
pub(crate) fn preflight(settings: &Settings) -> anyhow::Result<()> {
    let own_namespace =
        settings.mount_namespace == MountNamespace::Own && settings.chroot_dir.is_none();
    let capabilities = CapabilitySet::own().context("the capabilities of plexusd")?;
    check_capabilities(capabilities, own_namespace)?;
    check_setns("net", CloneFlags::CLONE_NEWNET)?;
    if settings.mount_namespace == MountNamespace::Caller {
        check_setns("mnt", CloneFlags::CLONE_NEWNS)?;
    }
    Ok(())
}

/// Checks the capabilities. `own_namespace` is whether plugins run in the daemon's own mount
/// namespace.
fn check_capabilities(capabilities: CapabilitySet, own_namespace: bool) -> anyhow::Result<()> {
    let missing: Vec<_> = CAPABILITIES
        .iter()
        .filter(|(capability, _)| !(own_namespace && *capability == Capability::SysChroot))
        .filter(|(capability, _)| !capabilities.has(*capability))
        .map(|(capability, purpose)| format!("{} ({purpose})", capability.name()))
        .collect();
    if !missing.is_empty() {
        bail!(
            "plexusd needs {}; run it as root, and privileged if in a container",
            missing.join(" and ")
        );
    }
    Ok(())
}

/// Checks that plexusd may enter namespaces of this kind, by entering its own.
fn check_setns(kind: &str, flag: CloneFlags) -> anyhow::Result<()> {
    let path = format!("/proc/thread-self/ns/{kind}");
    let result = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let namespace = File::open(&path)?;
            // A thread may not change its mount namespace while it shares its root with other
            // threads.
            unshare(CloneFlags::CLONE_FS)?;
            Ok(setns(namespace, flag)?)
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
    });
    result.map_err(|error| anyhow::anyhow!(setns_error(&path, &error)))
}

fn setns_error(path: &str, error: &io::Error) -> String {
    let likely_cause = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => {
            "; plexusd has the capabilities, so seccomp, a security module, or a user namespace forbids this"
        }
        _ => "",
    };
    format!(
        "plexusd cannot enter the namespace {path}, as every pod requires: {error}{likely_cause}"
    )
}

#[cfg(test)]
mod tests;
