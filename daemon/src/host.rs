//! The host as plugins see it: threads in its mount namespace, which open files there and spawn processes.
//!
//! A thread of its own, because working directory, umask, root and mount namespace belong to a thread once it has
//! stopped to share them, and a child inherits them from the thread that spawns it. To set them in the child instead
//! would make the standard library fork the whole daemon, which takes a hundred times as long.

mod callers;
pub(crate) mod memory;
mod runtime;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, mpsc};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Pid, chroot};
use tokio::process::Child;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(crate) use callers::{Caller, Hosts};

/// The umask of plugins: what they create is for its owner to write and for all to read.
const UMASK: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

/// A thread on the host: the spawner of all processes there. It ends with its last clone.
#[derive(Debug, Clone)]
pub(crate) struct Host(Arc<Thread>);

#[derive(Debug)]
struct Thread {
    jobs: mpsc::Sender<Job>,
    /// Whether paths mean the same to the daemon.
    is_own: bool,
}

type Job = Box<dyn FnOnce() + Send>;

/// Where a thread of the host is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the daemon's own mount namespace.
    Own,
    /// In this one.
    Namespace(File),
    /// Below a directory of the daemon's own.
    Chroot(PathBuf),
}

impl Host {
    /// Starts a thread at `place`, with umask 022 and `/` for its working directory. Children are watched by `runtime`.
    ///
    /// # Errors
    /// The thread cannot be started, or may not have a file-system context of its own, or may not go to its place; the
    /// text says what that takes.
    pub(crate) fn start(runtime: Handle, place: Place) -> io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (ready, started) = mpsc::sync_channel(1);
        let is_own = matches!(place, Place::Own);
        std::thread::Builder::new()
            .name("host".to_owned())
            .spawn(move || {
                // The other end is gone only if `start` is: then nobody wants the thread.
                if ready.send(go_to(place)).is_ok() {
                    let _watching = runtime.enter();
                    for job in queue {
                        job();
                    }
                }
            })?;
        started.recv().map_err(|_| gone())??;
        Ok(Self(Arc::new(Thread { jobs, is_own })))
    }

    /// Spawns `command` at the head of a process group of its own.
    ///
    /// The command must set no working directory, user, group or hook: see the module.
    ///
    /// # Errors
    /// Those of [`Command::spawn`].
    pub(crate) async fn spawn(&self, mut command: Command) -> io::Result<Process> {
        // Where the caller is gone, the process is dropped.
        let spawn = move || {
            command.process_group(0);
            tokio::process::Command::from(command).spawn().map(Process)
        };
        self.run(spawn).await?
    }

    /// Runs `look`, which looks at files, where paths mean what they mean to plugins. It must not take long: plugins
    /// are started by the same thread.
    ///
    /// # Errors
    /// The thread is gone.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        if self.0.is_own {
            Ok(look())
        } else {
            self.run(look).await
        }
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (answer, done) = oneshot::channel();
        self.0
            .jobs
            .send(Box::new(move || drop(answer.send(job()))))
            .map_err(|_| gone())?;
        done.await.map_err(|_| gone())
    }
}

/// A process that leads its own group. Dropped before it has been waited for, it is killed with all it has started.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Kills the process and all that it has started, unless it has been waited for.
    pub(crate) fn kill_group(&self) {
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

/// Separates this thread's root, working directory and umask from the daemon's, and sets them.
fn go_to(place: Place) -> io::Result<()> {
    let failed =
        |what: &str, errno: nix::Error| io::Error::other(format!("{what} failed: {errno}"));
    unshare(CloneFlags::CLONE_FS)
        .map_err(|errno| failed("unshare(CLONE_FS), which starting plugins needs,", errno))?;
    umask(UMASK);
    match place {
        Place::Own => {}
        Place::Namespace(namespace) => {
            setns(namespace, CloneFlags::CLONE_NEWNS).map_err(|errno| {
                failed(
                    "entering the mount namespace, which takes CAP_SYS_ADMIN and CAP_SYS_CHROOT,",
                    errno,
                )
            })?;
        }
        Place::Chroot(dir) => {
            chroot(&dir).map_err(|errno| {
                failed(
                    &format!("chroot to {}, which takes CAP_SYS_CHROOT,", dir.display()),
                    errno,
                )
            })?;
        }
    }
    std::env::set_current_dir("/")
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts plugins is gone; restart plexusd")
}
