//! A plugin that the launcher runs.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{Shutdown, shutdown};
use rustix::process::{Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::task::spawn_blocking;

use super::messages::Reply;
use super::placement::Launcher;

/// A plugin, which leads a process group. Dropping this before the plugin has ended kills the whole
/// group, or prevents the launcher from starting the plugin.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) stdin: Option<pipe::Sender>,
    pub(crate) stdout: Option<pipe::Receiver>,
    pub(crate) stderr: Option<pipe::Receiver>,
    /// The socket of this run.
    pub(super) replies: UnixStream,
    pub(super) running: Option<Running>,
    /// The inode of the pipe that is the plugin's stdout.
    pub(super) stdout_inode: u64,
    /// The launcher ends when this is dropped.
    pub(super) _launcher: Arc<Launcher>,
}

/// A plugin that has started, and has not ended as far as is known.
#[derive(Debug)]
pub(super) struct Running {
    pid: Pid,
    /// `None` if this process had too many open files.
    pidfd: Option<OwnedFd>,
}

/// The end of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Status(ExitStatus),
    /// The launcher has ended before the plugin. Also if it is not known whether the plugin was
    /// started.
    Unknown,
}

impl Process {
    /// Waits for the end of the plugin. Can be called again if the future was dropped.
    ///
    /// # Errors
    /// The plugin could not be started.
    pub(crate) async fn wait(&mut self) -> io::Result<Exit> {
        loop {
            let receive = || Reply::receive(&self.replies);
            let reply = self.replies.async_io(Interest::READABLE, receive).await;
            match reply.ok().flatten() {
                Some((Reply::Started(pid), pidfd)) => self.running = Running::new(pid, pidfd),
                Some((Reply::NotStarted(errno), _)) => {
                    return Err(io::Error::from_raw_os_error(errno));
                }
                Some((Reply::Exited(status), _)) => {
                    self.running = None;
                    return Ok(Exit::Status(ExitStatus::from_raw(status)));
                }
                None => break,
            }
        }
        if self.running.is_none() {
            // The launcher may have started the plugin and was killed before the report.
            let inode = self.stdout_inode;
            let found = spawn_blocking(move || Running::find(inode)).await;
            self.running = found.unwrap_or_default();
        }
        let pidfd = self
            .running
            .as_ref()
            .and_then(|running| running.pidfd.as_ref());
        if let Some(Ok(pidfd)) = pidfd.map(OwnedFd::try_clone) {
            // Ends as well if the future is dropped, because the plugin is killed then.
            let _ = spawn_blocking(move || has_ended(&pidfd, None)).await;
        }
        self.running = None;
        Ok(Exit::Unknown)
    }

    /// Kills the process group, unless the plugin has ended. A plugin that has not started yet will
    /// not run. [`Process::wait`] returns once the plugin has ended.
    pub(crate) fn kill_group(&mut self) {
        // The launcher looks for this before it starts the plugin and after it has reported the
        // start. So either the report can be received here, or the launcher kills the plugin.
        let _ = shutdown(&self.replies, Shutdown::Write);
        if self.running.is_none()
            && let Ok(Some((Reply::Started(pid), pidfd))) = Reply::receive(&self.replies)
        {
            self.running = Running::new(pid, pidfd);
        }
        if let Some(running) = &self.running
            && running.is_alive()
        {
            // Fails only if the plugin has just ended.
            let _ = kill_process_group(running.pid, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
    }
}

impl Running {
    fn new(pid: i32, pidfd: Option<OwnedFd>) -> Option<Self> {
        Pid::from_raw(pid).map(|pid| Self { pid, pidfd })
    }

    /// Finds the leader of a process group whose stdout is this pipe. Once the launcher has ended, a
    /// plugin that it started has been executed, and no other process has this stdout.
    fn find(stdout_inode: u64) -> Option<Self> {
        let pipe = format!("pipe:[{stdout_inode}]");
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let mut pids = processes.filter_map(|entry| {
            let link = std::fs::read_link(entry.path().join("fd/1")).ok()?;
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let pid = Pid::from_raw(pid).filter(|_| link == Path::new(&pipe))?;
            (getpgid(Some(pid)) == Ok(pid)).then_some(pid)
        });
        let pid = pids.next()?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
        Some(Self { pid, pidfd })
    }

    /// A PID may be reused as soon as the process has ended, and a pidfd is not.
    fn is_alive(&self) -> bool {
        let at_once = Timespec::default();
        !self
            .pidfd
            .as_ref()
            .is_some_and(|pidfd| has_ended(pidfd, Some(&at_once)))
    }
}

/// Whether a process has ended. Waits up to `timeout`, or without a limit.
fn has_ended(pidfd: &OwnedFd, timeout: Option<&Timespec>) -> bool {
    // A pidfd is readable once its process has ended.
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, timeout)) != Ok(0)
}
