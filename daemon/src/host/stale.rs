//! Plugins that a daemon before this one left running: it was killed, they were not.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The variable that every plugin of ours has for the time of a call about a container, and what it starts inherits.
pub const MARK: &str = "PLEXUS_DELEGATE";
/// How long the end of what was killed is waited for. A process in an uninterruptible call of the kernel does not end
/// sooner.
const PATIENCE: Duration = Duration::from_secs(2);
/// The kernel tells nobody but its parent of a process' end, so it is looked for.
const PAUSE: Duration = Duration::from_millis(5);

/// Kills the processes that were started for the ADD of `ifname` in the container, plugins and what these called, and
/// waits for their end: one that goes on would make anew what the DEL that follows removes. Blocking.
///
/// They are known by their environment. Returns how many there were.
///
/// # Errors
/// `/proc` cannot be read, or some are still there after a while.
pub fn kill_adders(container_id: &str, ifname: &str) -> io::Result<usize> {
    let wanted = [
        format!("{MARK}=1"),
        "CNI_COMMAND=ADD".to_owned(),
        format!("CNI_CONTAINERID={container_id}"),
        format!("CNI_IFNAME={ifname}"),
    ];
    let end = Instant::now() + PATIENCE;
    let mut killed = BTreeSet::new();
    loop {
        let found = started_with(&wanted)?;
        if found.is_empty() {
            return Ok(killed.len());
        }
        if Instant::now() > end {
            return Err(io::Error::other(format!("plugins of an earlier ADD do not end: processes {found:?}")));
        }
        for pid in found {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
            killed.insert(pid);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The processes whose environment has all of `wanted`; those that have ended have none.
fn started_with(wanted: &[String]) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // It may end while it is looked at; kernel threads have no environment.
        let Ok(environ) = fs::read(entry.path().join("environ")) else { continue };
        let variables: BTreeSet<&[u8]> = environ.split(|byte| *byte == 0).collect();
        if wanted.iter().all(|variable| variables.contains(variable.as_bytes())) {
            found.push(pid);
        }
    }
    Ok(found)
}
