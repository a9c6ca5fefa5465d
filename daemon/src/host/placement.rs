//! Starts the launcher in the control groups of the runtime, and sends it plugins to start.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, pipe};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use rustix::fs::fstat;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::process::Child;

use super::cgroup::{Cgroups, PluginCgroups};
use super::launcher::serve;
use super::messages::{Order, send};
use super::process::Process;
use super::{Host, thread_ended};
use crate::mutex::lock;

/// The subcommand of plexusd that runs a launcher.
const SUBCOMMAND: &str = "launch-plugins";

/// The control groups of the plugins of one host thread, and the launcher that is there.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// The runtime's control groups, as of the last call. `None` before the first call.
    target: Mutex<Option<Arc<Cgroups>>>,
    current: tokio::sync::Mutex<Option<Current>>,
    has_warned: AtomicBool,
}

#[derive(Debug)]
struct Current {
    launcher: Arc<Launcher>,
    target: Option<Arc<Cgroups>>,
    /// Whether the launcher is in all groups of `target`.
    is_placed: bool,
}

/// A launcher. Dropping this ends the launcher.
#[derive(Debug)]
pub(super) struct Launcher {
    control: UnixStream,
}

impl Placement {
    fn warn(&self, error: &str) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                error,
                "plugins cannot join the control group of the runtime: they end with the container \
                 of plexusd, and their memory counts against its limit"
            );
        }
    }
}

impl Current {
    /// Whether a call with these control groups can use the launcher. If a launcher could not join
    /// its groups, each call tries again: they may have been made again.
    fn serves(&self, target: Option<&Arc<Cgroups>>) -> bool {
        match (&self.target, target) {
            (Some(own), Some(target)) if !self.is_placed => Arc::ptr_eq(own, target),
            (own, target) => own.as_ref() == target,
        }
    }
}

impl Host {
    /// Makes later plugins run in the control groups of a runtime.
    pub(super) fn set_cgroups(&self, target: &Arc<Cgroups>) {
        *lock(&self.0.placement.target) = Some(Arc::clone(target));
    }

    /// Starts `program` with this environment and pipes for all streams, as the leader of a new
    /// process group in the control groups of the runtime. `ledger_lock` is held until the program
    /// runs. The first [`Process::wait`] reports whether the program could be started.
    ///
    /// # Errors
    /// Nothing was started.
    pub(crate) async fn start_plugin(
        &self,
        program: &Path,
        env: &BTreeMap<String, String>,
        ledger_lock: Option<&File>,
    ) -> io::Result<Process> {
        let order = Order::encode(program, env)?;
        let launcher = self.launcher(None).await?;
        match launcher.start(&order, ledger_lock).await {
            // Another program has killed the launcher.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                let launcher = self.launcher(Some(&launcher)).await?;
                launcher.start(&order, ledger_lock).await
            }
            started => started,
        }
    }

    /// The launcher. Starts one if the last one is in other control groups or is `ended`.
    async fn launcher(&self, ended: Option<&Arc<Launcher>>) -> io::Result<Arc<Launcher>> {
        let placement = &self.0.placement;
        // Locked during the start, so that other plugins wait for the same launcher.
        let mut current = placement.current.lock().await;
        let target = lock(&placement.target).clone();
        if let Some(current) = &*current
            && current.serves(target.as_ref())
            && !ended.is_some_and(|ended| Arc::ptr_eq(ended, &current.launcher))
        {
            return Ok(Arc::clone(&current.launcher));
        }
        let (groups, mut error) = self.open_groups(target.as_ref()).await?;
        let mut launcher = None;
        if !groups.is_empty() {
            match self.start_process(groups).await {
                Ok((process, joined)) => {
                    launcher = Some(process);
                    error = error.or(joined.err());
                }
                Err(failure) => error = Some(format!("cannot start a process: {failure}")),
            }
        }
        let launcher = match launcher {
            Some(launcher) => launcher,
            None => self.start_thread().await?,
        };
        if let Some(error) = &error {
            placement.warn(error);
        }
        *current = Some(Current {
            launcher: Arc::clone(&launcher),
            target,
            is_placed: error.is_none(),
        });
        Ok(launcher)
    }

    /// The control groups to join, and the first error.
    async fn open_groups(
        &self,
        target: Option<&Arc<Cgroups>>,
    ) -> io::Result<(PluginCgroups, Option<String>)> {
        let Some(target) = target.cloned() else {
            return Ok(Default::default());
        };
        // On the thread, because the daemon's container may have no mount of the control groups, or
        // a read-only one.
        let (groups, errors) = self.send(move || PluginCgroups::open(&target)).await?;
        Ok((groups, errors.into_iter().next()))
    }

    /// Starts a process in these groups. Also returns whether the process has joined all of them.
    async fn start_process(
        &self,
        groups: PluginCgroups,
    ) -> io::Result<(Arc<Launcher>, Result<(), String>)> {
        let (launcher, control) = Launcher::new()?;
        let start = move || {
            let mut command = Command::new("/proc/self/exe");
            command.arg0("plexusd").arg(SUBCOMMAND).env_clear();
            command
                .stdin(OwnedFd::from(control))
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            tokio::process::Command::from(command).spawn()
        };
        let process = self.send(start).await??;
        let pid = process.id().ok_or_else(thread_ended)?;
        let joined = tokio::task::spawn_blocking(move || groups.join(pid)).await?;
        tokio::spawn(reap(process, Arc::downgrade(&launcher)));
        Ok((launcher, joined))
    }

    /// Starts a thread of this process. Plugins are in the control groups of this process.
    async fn start_thread(&self) -> io::Result<Arc<Launcher>> {
        let (launcher, control) = Launcher::new()?;
        let serve = move || {
            if let Err(error) = serve(&control) {
                tracing::error!(%error, "the thread that starts plugins has ended");
            }
        };
        let builder = thread::Builder::new().name("launcher".to_owned());
        // From the host thread, whose root, working directory and umask the new thread shares.
        self.send(move || builder.spawn(serve)).await??;
        Ok(launcher)
    }
}

impl Launcher {
    /// Returns the launcher's end of the socket as well.
    pub(super) fn new() -> io::Result<(Arc<Self>, StdUnixStream)> {
        let (own, other) = StdUnixStream::pair()?;
        own.set_nonblocking(true)?;
        let control = UnixStream::from_std(own)?;
        Ok((Arc::new(Self { control }), other))
    }

    /// Orders the launcher to start a plugin.
    ///
    /// # Errors
    /// [`io::ErrorKind::BrokenPipe`] if the launcher had ended before.
    pub(super) async fn start(
        self: &Arc<Self>,
        order: &[u8],
        ledger_lock: Option<&File>,
    ) -> io::Result<Process> {
        let (run, other) = StdUnixStream::pair()?;
        run.set_nonblocking(true)?;
        let ((stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr)) =
            (pipe()?, pipe()?, pipe()?);
        let mut process = Process {
            stdin: Some(Sender::from_owned_fd(to_stdin.into())?),
            stdout: Some(Receiver::from_owned_fd(from_stdout.into())?),
            stderr: Some(Receiver::from_owned_fd(from_stderr.into())?),
            replies: UnixStream::from_std(run)?,
            running: None,
            stdout_inode: fstat(&stdout)?.st_ino,
            _launcher: Arc::clone(self),
        };
        let mut fds = vec![other.as_fd(), stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
        fds.extend(ledger_lock.map(File::as_fd));
        self.control
            .async_io(Interest::WRITABLE, || send(&self.control, &[0], &fds))
            .await?;
        // If the launcher ends meanwhile, `Process::wait` says so.
        let _ = process.replies.write_all(order).await;
        Ok(process)
    }
}

/// Waits for the end of the process of a launcher.
async fn reap(mut process: Child, launcher: Weak<Launcher>) {
    let pid = process.id();
    let status = process.wait().await;
    if launcher.upgrade().is_some() {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        tracing::warn!(
            pid,
            status,
            "the process of plexusd that starts plugins was killed; the next plugin gets another one"
        );
    }
}
