//! The host as plugins see it: threads that open files and spawn processes in the mount namespace
//! of plugins.
//!
//! A dedicated thread unshares its working directory, umask, root and mount namespace, and its
//! children inherit them. Setting them in each child instead would make the standard library fork
//! the whole daemon, which takes a hundred times as long.

mod callers;
mod cgroup;
mod error;
mod launcher;
pub(crate) mod memory;
mod placement;
mod runtime;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, chroot};
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(crate) use callers::{Caller, Hosts};
pub(crate) use error::HostError;
pub(crate) use launcher::{LAUNCHER_CMDLINE, launch_error, launch_plugin};
use placement::Placement;

/// The pauses between attempts to execute a file that is open for writing, as during an upgrade
///
pub(crate) const BUSY_PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// The umask of plugins: their files are writable by the owner and readable by all.
const UMASK: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

/// A thread in the mount namespace of plugins that spawns processes there. The thread ends when the
/// last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Host(Arc<Thread>);

#[derive(Debug)]
struct Thread {
    jobs: mpsc::Sender<Job>,
    /// Whether the thread is in the daemon's own root and mount namespace.
    is_own: bool,
    placement: Placement,
}

type Job = Box<dyn FnOnce() + Send>;

/// The root and the mount namespace of a thread.
#[derive(Debug)]
pub(crate) enum HostRoot {
    /// The daemon's own.
    Own,
    MountNamespace(File),
    /// A directory in the daemon's mount namespace.
    Chroot(PathBuf),
}

impl Host {
    /// Starts a thread in `root`, with umask 022 and working directory `/`. `runtime` reaps the
    /// children.
    pub(crate) fn start(runtime: Handle, root: HostRoot) -> Result<Self, HostError> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ready, started) = mpsc::sync_channel(1);
        let is_own = matches!(root, HostRoot::Own);
        std::thread::Builder::new()
            .name("host".to_owned())
            .spawn(move || {
                if ready.send(enter(root)).is_ok() {
                    let _runtime = runtime.enter();
                    for job in queue {
                        // A bug in one job must not end the thread that starts all plugins. The
                        // caller of the job gets an error.
                        let _ = catch_unwind(AssertUnwindSafe(job));
                    }
                }
            })
            .map_err(HostError::Thread)?;
        started
            .recv()
            .map_err(|_| HostError::Thread(thread_ended()))??;
        Ok(Self(Arc::new(Thread {
            jobs,
            is_own,
            placement: Placement::default(),
        })))
    }

    /// Starts `program` with this environment and pipes for all streams, as the leader of a new
    /// process group in the control groups of the runtime.
    pub(crate) async fn start_plugin(
        &self,
        program: &Path,
        env: &BTreeMap<String, String>,
    ) -> io::Result<Started> {
        if let Some(process) = self.launcher(env).await {
            return Ok(Started {
                process,
                order: launcher::order(program, env)?,
            });
        }
        let mut command = Command::new(program);
        command.env_clear().envs(env);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(Started {
            process: self.spawn(command).await?,
            order: Vec::new(),
        })
    }

    /// Spawns `command` as the leader of a new process group.
    ///
    /// The command must not set a working directory, user, group or `pre_exec` hook: see the module
    /// documentation.
    async fn spawn(&self, mut command: Command) -> io::Result<Process> {
        // If the caller has stopped waiting, the process is dropped and thus killed.
        self.send(move || {
            command.process_group(0);
            tokio::process::Command::from(command).spawn().map(Process)
        })
        .await?
    }

    /// Runs `access`, which reads, writes or removes files, where paths resolve as they do for plugins.
    /// `access` must be quick, since the same thread starts plugins.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        access: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        if self.0.is_own {
            Ok(access())
        } else {
            self.send(access).await
        }
    }

    /// Runs `job` on the thread, unless the caller has stopped waiting by then.
    async fn send<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (sender, receiver) = oneshot::channel();
        let job = move || {
            if !sender.is_closed() {
                drop(sender.send(job()));
            }
        };
        self.0
            .jobs
            .send(Box::new(job))
            .map_err(|_| thread_ended())?;
        receiver.await.map_err(|_| thread_ended())
    }
}

/// A started plugin.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) process: Process,
    /// The bytes to write to stdin before those of the plugin.
    pub(crate) order: Vec<u8>,
}

/// A process that leads a process group. Dropping the process before it has been waited for kills
/// the whole group.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// The process, if it has not ended.
    fn if_running(mut self) -> Option<Self> {
        matches!(self.0.try_wait(), Ok(None)).then_some(self)
    }

    /// Kills the process group, unless the process has been waited for.
    pub(crate) fn kill_group(&self) {
        // The PID is not reused until the process has been waited for.
        if let Some(id) = self.id().and_then(|id| i32::try_from(id).ok()) {
            // Fails only if the group is already gone.
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

/// Moves the calling thread into `root` and unshares its root, working directory and umask.
fn enter(root: HostRoot) -> Result<(), HostError> {
    unshare(CloneFlags::CLONE_FS).map_err(HostError::Unshare)?;
    umask(UMASK);
    match root {
        HostRoot::Own => {}
        HostRoot::MountNamespace(namespace) => {
            setns(namespace, CloneFlags::CLONE_NEWNS).map_err(HostError::EnterNamespace)?;
        }
        HostRoot::Chroot(dir) => {
            chroot(&dir).map_err(|errno| HostError::Chroot { dir, errno })?;
        }
    }
    std::env::set_current_dir("/").map_err(HostError::WorkingDirectory)
}

fn thread_ended() -> io::Error {
    io::Error::other("the thread that starts plugins has ended; restart plexusd")
}
