//! Errors of the threads that start plugins.

use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

/// Why a mount namespace cannot be entered.
fn explain(errno: Errno) -> String {
    let error = errno.desc();
    match errno {
        Errno::EPERM => format!("{error}; plexusd needs CAP_SYS_ADMIN and CAP_SYS_CHROOT"),
        Errno::EINVAL => "the file is not a mount namespace".to_owned(),
        _ => error.to_owned(),
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error("cannot start the thread that starts plugins: {0}")]
    Thread(io::Error),
    #[error("unshare(CLONE_FS), needed to start plugins, failed: {0}")]
    Unshare(Errno),
    #[error("cannot open the mount namespace of plugins: {0}")]
    OpenNamespace(io::Error),
    #[error("cannot enter the mount namespace of plugins: {}", explain(*.0))]
    EnterNamespace(Errno),
    #[error("cannot chroot to {}, which needs CAP_SYS_CHROOT: {errno}", dir.display())]
    Chroot { dir: PathBuf, errno: Errno },
    #[error("cannot change the working directory to /: {0}")]
    WorkingDirectory(io::Error),
    #[error("chrootDir {}: {error}", dir.display())]
    ChrootDir { dir: PathBuf, error: io::Error },
    #[error("mountNamespace {}: {error}", path.display())]
    MountNamespace {
        path: PathBuf,
        error: Box<HostError>,
    },
    #[error(
        "plexusd cannot see the processes that call it: it needs the host's PID namespace \
         (hostPID: true in its pod)"
    )]
    HiddenCaller,
    /// Neither a runtime nor PID 1 provides a mount namespace.
    #[error("no runtime has called yet, and {} cannot be used instead: {error}", fallback.display())]
    NoRuntime {
        fallback: PathBuf,
        error: Box<HostError>,
    },
}
