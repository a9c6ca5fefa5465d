//! The host as plugins see it: threads that open files in the mount namespace of plugins, and
//! launchers that start plugins there.
//!
//! A dedicated thread unshares its working directory, umask, root and mount namespace. The launcher
//! that the thread starts inherits them, and so do plugins.

mod callers;
mod cgroup;
mod error;
mod launcher;
pub(crate) mod memory;
mod messages;
mod placement;
mod process;
mod runtime;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, umask};
use nix::unistd::chroot;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(crate) use callers::{Caller, Hosts};
pub(crate) use error::HostError;
pub(crate) use launcher::launch_plugins;
use placement::Placement;
pub(crate) use process::{Exit, Process};

/// The umask of plugins: their files are writable by the owner and readable by all.
const UMASK: Mode = Mode::S_IWGRP.union(Mode::S_IWOTH);

/// A thread in the mount namespace of plugins, and the launcher that it has started there. Both end
/// when the last clone is dropped; the launcher after the last plugin that it runs.
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

    /// Runs `access`, which reads, writes or removes files, where paths resolve as they do for plugins.
    /// `access` must be quick, since calls wait for each other here.
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
