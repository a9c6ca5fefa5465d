//! The host, as far as it is entered by a thread: one thread spawns every process.
//!
//! A thread of its own, because working directory, umask and mount namespace belong to a thread once it has stopped to
//! share them, and a child inherits them from the thread that spawns it. To set them in the child instead would make
//! the standard library fork the whole daemon, which takes a hundred times as long.

#[cfg(test)]
mod tests;

use std::io;
use std::ops::{Deref, DerefMut};
use std::process::Command;
use std::sync::mpsc;

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// The umask of plugins: what they create is for its owner to write and for all to read.
const UMASK: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

/// The single spawner of processes. The thread ends with its last clone.
#[derive(Debug, Clone)]
pub struct Host {
    jobs: mpsc::Sender<Job>,
}

struct Job {
    command: Command,
    answer: oneshot::Sender<io::Result<Process>>,
}

impl Host {
    /// Starts the thread, with umask 022 and `/` for its working directory. Children are watched by `runtime`.
    ///
    /// # Errors
    /// The thread cannot be started, or may not have a file-system context of its own.
    pub fn start(runtime: Handle) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let (ready, started) = mpsc::sync_channel(1);
        std::thread::Builder::new().name("host".to_owned()).spawn(move || {
            // The other end is gone only if `start` is: then nobody wants the thread.
            if ready.send(own_context()).is_ok() {
                serve(&runtime, &queue);
            }
        })?;
        started.recv().map_err(|_| gone())??;
        Ok(Self { jobs })
    }

    /// Spawns `command` at the head of a process group of its own.
    ///
    /// The command must set no working directory, user, group or hook: see the module.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub async fn spawn(&self, command: Command) -> io::Result<Process> {
        let (answer, spawned) = oneshot::channel();
        self.jobs.send(Job { command, answer }).map_err(|_| gone())?;
        spawned.await.map_err(|_| gone())?
    }
}

/// A process that leads its own group. Dropped before it has been waited for, it is killed with all it has started.
#[derive(Debug)]
pub struct Process(Child);

impl Process {
    /// Kills the process and all that it has started, unless it has been waited for.
    pub fn kill_group(&self) {
        // There is an id until the process has been waited for; so long nobody else can have it.
        if let Some(id) = self.id().and_then(|id| i32::try_from(id).ok()) {
            // It fails only where the group is already gone.
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

/// Separates this thread's working directory and umask from the daemon's, and sets them.
fn own_context() -> io::Result<()> {
    unshare(CloneFlags::CLONE_FS).map_err(|errno| {
        io::Error::other(format!("unshare(CLONE_FS), which starting plugins needs, failed: {errno}"))
    })?;
    umask(UMASK);
    std::env::set_current_dir("/")
}

fn serve(runtime: &Handle, queue: &mpsc::Receiver<Job>) {
    use std::os::unix::process::CommandExt as _;

    let _watching = runtime.enter();
    for Job { mut command, answer } in queue {
        command.process_group(0);
        let process = tokio::process::Command::from(command).spawn().map(Process);
        // Where the caller is gone, the process is dropped.
        drop(answer.send(process));
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts plugins is gone; restart plexusd")
}
