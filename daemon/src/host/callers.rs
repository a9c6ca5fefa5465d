//! Selects the mount namespace in which plugins run, and manages the threads in those namespaces.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, Weak};

use tokio::runtime::Handle;

use super::cgroup::Cgroups;
use super::runtime::{RuntimeProcess, mount_namespace};
use super::{Host, HostError, HostRoot, Thread};
use crate::config::MountNamespace;
use crate::file_id::FileId;
use crate::mutex::lock;

/// The mount namespace for cleanup before the first call, if no earlier runtime is known.
const FALLBACK: &str = "/proc/1/ns/mnt";
/// The file in the state directory that identifies the runtime of the last call.
const RUNTIME_FILE: &str = "runtime.json";

/// Finds the host of each call.
#[derive(Debug, Clone)]
pub(crate) struct Hosts(Arc<HostSelection>);

#[derive(Debug)]
enum HostSelection {
    Fixed(Host),
    ByCaller(CallerHosts),
}

/// The threads in the mount namespaces of callers: one for each namespace that a call is using, and
/// one for the namespace of the last call. Other threads end, since a mount namespace and its
/// mounts exist for as long as a thread is in the namespace.
#[derive(Debug)]
struct CallerHosts {
    tokio: Handle,
    runtime_file: PathBuf,
    fallback: PathBuf,
    state: Mutex<CallerState>,
}

#[derive(Debug, Default)]
struct CallerState {
    /// By the identity of the mount namespace. The kernel does not reuse an inode while a thread is
    /// in the namespace.
    threads: BTreeMap<FileId, Weak<Thread>>,
    /// The host of the last call.
    last: Option<Host>,
    /// The content of the runtime file.
    saved: Option<RuntimeProcess>,
}

/// The process at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    namespace: Arc<CallerNamespace>,
    /// `None` if they cannot be read.
    cgroups: Option<Arc<Cgroups>>,
}

#[derive(Debug)]
enum CallerNamespace {
    /// The runtime is `None` if a restarted daemon could not find that process.
    Open(File, Option<RuntimeProcess>),
    Unreadable(io::Error),
    /// The caller is in another PID namespace than the daemon.
    Hidden,
    /// All callers have the same host.
    Irrelevant,
}

impl Hosts {
    /// Selects the hosts for these settings. A `chroot_dir` that is not a mount point is ignored,
    /// with a warning: plexusd was deployed without that mount. Must be called in a Tokio runtime.
    pub(crate) fn open(
        mount_namespace: &MountNamespace,
        chroot_dir: Option<&Path>,
        state_dir: &Path,
    ) -> Result<Self, HostError> {
        if let Some(dir) = chroot_dir {
            let mounted = is_mount_point(dir).map_err(|error| HostError::ChrootDir {
                dir: dir.to_owned(),
                error,
            })?;
            if mounted {
                return Self::fixed(HostRoot::Chroot(dir.to_owned()));
            }
            tracing::warn!(
                "chrootDir is {}, but nothing is mounted there; mountNamespace applies instead",
                dir.display()
            );
        }
        match mount_namespace {
            MountNamespace::Own => Self::fixed(HostRoot::Own),
            MountNamespace::Caller => Ok(Self::by_caller(
                Handle::current(),
                state_dir.join(RUNTIME_FILE),
                PathBuf::from(FALLBACK),
            )),
            MountNamespace::Path(path) => open_namespace(path)
                .and_then(|namespace| Self::fixed(HostRoot::MountNamespace(namespace)))
                .map_err(|error| HostError::MountNamespace {
                    path: path.clone(),
                    error: Box::new(error),
                }),
        }
    }

    fn fixed(root: HostRoot) -> Result<Self, HostError> {
        let host = Host::start(Handle::current(), root)?;
        Ok(Self(Arc::new(HostSelection::Fixed(host))))
    }

    fn by_caller(tokio: Handle, runtime_file: PathBuf, fallback: PathBuf) -> Self {
        let state = Mutex::new(CallerState {
            saved: RuntimeProcess::read(&runtime_file),
            ..CallerState::default()
        });
        Self(Arc::new(HostSelection::ByCaller(CallerHosts {
            tokio,
            runtime_file,
            fallback,
            state,
        })))
    }

    /// Whether plugins see the same files as the daemon.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.0.as_ref(), HostSelection::Fixed(host) if host.0.is_own)
    }

    /// Opens the mount namespace of the process `pid`, as the socket reports it. The process must
    /// still exist.
    pub(crate) fn caller(&self, pid: Option<i32>) -> Caller {
        static HIDDEN: Once = Once::new();
        if pid == Some(0) {
            HIDDEN.call_once(|| tracing::error!("{}", HostError::HiddenCaller));
        }
        let namespace = match (self.0.as_ref(), pid) {
            (HostSelection::Fixed(_), _) => CallerNamespace::Irrelevant,
            (HostSelection::ByCaller(_), Some(0)) => CallerNamespace::Hidden,
            (HostSelection::ByCaller(_), Some(pid)) => match File::open(mount_namespace(pid)) {
                Ok(namespace) => {
                    let runtime = RuntimeProcess::of_caller(pid, &namespace);
                    CallerNamespace::Open(namespace, runtime.unwrap_or_default())
                }
                Err(error) => CallerNamespace::Unreadable(error),
            },
            (HostSelection::ByCaller(_), None) => CallerNamespace::Unreadable(io::Error::other(
                "the socket does not report the caller's PID",
            )),
        };
        let cgroups = pid
            .filter(|pid| *pid != 0)
            .and_then(|pid| Cgroups::of_process(pid).ok());
        Caller {
            namespace: Arc::new(namespace),
            cgroups: cgroups.map(Arc::new),
        }
    }

    /// The host that serves a call of `caller`.
    pub(crate) fn for_caller(&self, caller: &Caller) -> Result<Host, HostError> {
        let host = self.in_namespace_of(caller)?;
        if let Some(cgroups) = &caller.cgroups {
            host.set_cgroups(cgroups);
        }
        Ok(host)
    }

    fn in_namespace_of(&self, caller: &Caller) -> Result<Host, HostError> {
        match (self.0.as_ref(), caller.namespace.as_ref()) {
            (HostSelection::Fixed(host), _) => Ok(host.clone()),
            (HostSelection::ByCaller(hosts), CallerNamespace::Open(namespace, runtime)) => {
                let host = hosts.enter(namespace)?;
                hosts.remember(&host, runtime.as_ref());
                Ok(host)
            }
            (HostSelection::ByCaller(_), CallerNamespace::Hidden) => Err(HostError::HiddenCaller),
            (HostSelection::ByCaller(_), CallerNamespace::Unreadable(error)) => {
                tracing::warn!(
                    %error,
                    "cannot open the caller's mount namespace; using that of the last caller"
                );
                self.for_cleanup()
            }
            (HostSelection::ByCaller(_), CallerNamespace::Irrelevant) => self.for_cleanup(),
        }
    }

    /// The host for plugins that run without a call: the host of the last call, else of the runtime
    /// that an earlier daemon served last, else of PID 1.
    pub(crate) fn for_cleanup(&self) -> Result<Host, HostError> {
        let hosts = match self.0.as_ref() {
            HostSelection::Fixed(host) => return Ok(host.clone()),
            HostSelection::ByCaller(hosts) => hosts,
        };
        let (last, saved) = {
            let state = hosts.state();
            (state.last.clone(), state.saved.clone())
        };
        let enter_saved = || {
            let saved = saved?;
            let host = hosts.enter(&saved.namespace().ok()?).ok()?;
            if let Ok(cgroups) = saved.cgroups() {
                host.set_cgroups(&Arc::new(cgroups));
            }
            Some(host)
        };
        if let Some(host) = last.or_else(enter_saved) {
            return Ok(host);
        }
        open_namespace(&hosts.fallback)
            .and_then(|namespace| hosts.enter(&namespace))
            .map_err(|error| HostError::NoRuntime {
                fallback: hosts.fallback.clone(),
                error: Box::new(error),
            })
    }
}

impl CallerHosts {
    /// Makes `host` the host of the last call, and saves its runtime.
    fn remember(&self, host: &Host, runtime: Option<&RuntimeProcess>) {
        let mut state = self.state();
        state.last = Some(host.clone());
        let Some(runtime) = runtime.filter(|runtime| state.saved.as_ref() != Some(runtime)) else {
            return;
        };
        // Set even if the write fails, since the write of the next call would fail, too.
        state.saved = Some(runtime.clone());
        if let Err(error) = runtime.write(&self.runtime_file) {
            tracing::warn!(
                %error,
                "cannot save the PID of the runtime; after a restart, plexusd cleans up in the mount \
                 namespace of PID 1 until the runtime calls"
            );
        }
    }

    /// The host in `namespace`. Starts a thread there unless one is running.
    fn enter(&self, namespace: &File) -> Result<Host, HostError> {
        let id = namespace
            .metadata()
            .map(|metadata| FileId::from(&metadata))
            .map_err(HostError::OpenNamespace)?;
        let mut state = self.state();
        if let Some(thread) = state.threads.get(&id).and_then(Weak::upgrade) {
            return Ok(Host(thread));
        }
        let namespace = namespace.try_clone().map_err(HostError::OpenNamespace)?;
        let host = Host::start(self.tokio.clone(), HostRoot::MountNamespace(namespace))?;
        state.threads.retain(|_, thread| thread.strong_count() > 0);
        state.threads.insert(id, Arc::downgrade(&host.0));
        Ok(host)
    }

    fn state(&self) -> MutexGuard<'_, CallerState> {
        lock(&self.state)
    }
}

fn open_namespace(path: &Path) -> Result<File, HostError> {
    File::open(path).map_err(HostError::OpenNamespace)
}

/// Whether something is mounted at `dir` itself. Reads the mount table, since a bind mount from the
/// same file system has the same device as its parent directory.
fn is_mount_point(dir: &Path) -> io::Result<bool> {
    let dir = match dir.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        dir => dir?,
    };
    // The table escapes spaces and backslashes in octal.
    let escaped = dir
        .to_string_lossy()
        .replace('\\', "\\134")
        .replace(' ', "\\040");
    Ok(fs::read_to_string("/proc/thread-self/mountinfo")?
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|mount_point| mount_point == escaped))
}
