//! The checks before plexusd serves: a missing right is reported at the start, not by the first pod that fails.

#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::thread;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

use crate::capabilities::{Capability, CapabilitySet};
use crate::config::{MountNamespace, Settings};

/// The purposes of the capabilities, for messages.
const PURPOSES: [(Capability, &str); 4] = [
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
/// The first right that plexusd needs and does not have.
pub(super) fn preflight(settings: &Settings) -> anyhow::Result<()> {
    let own = settings.mount_namespace == MountNamespace::Own && settings.chroot_dir.is_none();
    check(
        CapabilitySet::own().context("the capabilities of plexusd")?,
        own,
    )?;
    enter("net", CloneFlags::CLONE_NEWNET)?;
    if settings.mount_namespace == MountNamespace::Caller {
        enter("mnt", CloneFlags::CLONE_NEWNS)?;
    }
    write(&settings.state_dir)
}

/// Checks the capabilities. `own` is whether plugins run in the daemon's own mount namespace.
fn check(rights: CapabilitySet, own: bool) -> anyhow::Result<()> {
    let needed = PURPOSES
        .iter()
        .filter(|(capability, _)| !(own && *capability == Capability::SysChroot));
    let missing: Vec<_> = needed
        .filter(|(capability, _)| !rights.has(*capability))
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

/// Enters the daemon's own namespace of that kind. If that is forbidden, entering any other is forbidden, too.
fn enter(kind: &str, flag: CloneFlags) -> anyhow::Result<()> {
    let path = format!("/proc/thread-self/ns/{kind}");
    let entered = thread::scope(|scope| {
        let entering = scope.spawn(|| {
            let namespace = File::open(&path)?;
            // A thread may not change its mount namespace while it shares its root with other threads.
            unshare(CloneFlags::CLONE_FS)?;
            Ok(setns(namespace, flag)?)
        });
        entering
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("its thread panicked")))
    });
    entered.map_err(|error| anyhow::anyhow!(refused(&path, &error)))
}

fn refused(path: &str, error: &io::Error) -> String {
    let why = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM | Errno::EACCES) => {
            "; plexusd has the capabilities, so seccomp, a security module, or a user namespace forbids it"
        }
        _ => "",
    };
    format!("plexusd cannot enter a namespace, which it needs for every pod: {path}: {error}{why}")
}

/// Writes to the state directory, which is created if it is missing.
fn write(state_dir: &Path) -> anyhow::Result<()> {
    let probe = state_dir.join(".preflight");
    let tried = || {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state_dir)?;
        fs::write(&probe, "written")?;
        match fs::remove_file(&probe) {
            // Another plexusd that starts at the same time may have removed the file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    };
    let context = || {
        format!(
            "plexusd cannot write its state directory {} (stateDir)",
            state_dir.display()
        )
    };
    tried().with_context(context)
}
