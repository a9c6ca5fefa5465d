//! Whose mount namespace plugins run in, and the threads that are there.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, Weak};

use plexus_api::cni::{CniError, Code};
use tokio::runtime::Handle;

use super::runtime::Runtime;
use super::{Host, Place, Thread};
use crate::config::MountNamespace;
use crate::file_id::FileId;
use crate::mutex::lock;

/// Stands in for a runtime that has not called yet.
const INIT: &str = "/proc/1/ns/mnt";
/// In the daemon's state: the runtime that called last.
const FILE: &str = "runtime.json";

/// Finds the host of each call.
#[derive(Debug, Clone)]
pub(crate) struct Hosts(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Same(Host),
    Callers(Callers),
}

/// One thread for each mount namespace from which a call is being served, and one for the last that called. No other is
/// kept: as long as its namespace exists, so does what is mounted there.
#[derive(Debug)]
struct Callers {
    tokio: Handle,
    /// The file that has the last runtime.
    file: PathBuf,
    /// What serves where nobody has called.
    stand_in: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By device and inode. A number is not used again while a thread is in that namespace.
    threads: BTreeMap<FileId, Weak<Thread>>,
    last: Option<Host>,
    /// The runtime that is in the file.
    written: Option<Runtime>,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Caller(Arc<Seen>);

#[derive(Debug)]
enum Seen {
    /// It is in this mount namespace, and was started by that runtime, where that can be found again.
    In(File, Option<Runtime>),
    /// That cannot be seen.
    Unknown(io::Error),
    /// It is in another PID namespace than the daemon.
    Hidden,
    /// It does not matter.
    Anyone,
}

impl Hosts {
    /// The hosts for these settings; `state_dir` remembers the last runtime over restarts. A `chroot_dir` that is no
    /// mount point is passed over, with a warning: plexusd was then deployed without it. To be called within a runtime.
    ///
    /// # Errors
    /// A place that cannot be entered, with what that takes.
    pub(crate) fn open(
        mount_namespace: &MountNamespace,
        chroot_dir: Option<&Path>,
        state_dir: &Path,
    ) -> io::Result<Self> {
        if let Some(dir) = chroot_dir {
            if is_mount_point(dir)? {
                return Self::same(Place::Chroot(dir.to_owned()));
            }
            tracing::warn!(
                "chrootDir is {}, but nothing is mounted there: mountNamespace says where plugins run",
                dir.display()
            );
        }
        match mount_namespace {
            MountNamespace::Own => Self::same(Place::Own),
            MountNamespace::Caller => Ok(Self::of_callers(
                Handle::current(),
                state_dir.join(FILE),
                PathBuf::from(INIT),
            )),
            MountNamespace::Path(path) => {
                let at =
                    |error| io::Error::other(format!("mountNamespace {}: {error}", path.display()));
                Self::same(Place::Namespace(File::open(path).map_err(at)?)).map_err(at)
            }
        }
    }

    fn same(place: Place) -> io::Result<Self> {
        Ok(Self(Arc::new(Kind::Same(Host::start(
            Handle::current(),
            place,
        )?))))
    }

    pub(super) fn of_callers(tokio: Handle, file: PathBuf, stand_in: PathBuf) -> Self {
        let known = Mutex::new(Known {
            written: Runtime::read(&file),
            ..Known::default()
        });
        Self(Arc::new(Kind::Callers(Callers {
            tokio,
            file,
            stand_in,
            known,
        })))
    }

    /// Whether plugins see what the daemon sees.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.0.as_ref(), Kind::Same(host) if host.0.is_own)
    }

    /// Remembers who has connected; `pid` as the socket has it. The process must still be there.
    pub(crate) fn caller(&self, pid: Option<i32>) -> Caller {
        static HIDDEN: Once = Once::new();
        if pid == Some(0) {
            HIDDEN.call_once(|| tracing::error!("{}", hidden().msg));
        }
        let seen = match (self.0.as_ref(), pid) {
            (Kind::Same(_), _) => Seen::Anyone,
            (Kind::Callers(_), Some(0)) => Seen::Hidden,
            (Kind::Callers(_), Some(pid)) => match File::open(format!("/proc/{pid}/ns/mnt")) {
                Ok(namespace) => {
                    let runtime = Runtime::of_caller(pid, &namespace);
                    Seen::In(namespace, runtime.unwrap_or_default())
                }
                Err(error) => Seen::Unknown(error),
            },
            (Kind::Callers(_), None) => {
                Seen::Unknown(io::Error::other("the socket does not tell its process"))
            }
        };
        Caller(Arc::new(seen))
    }

    /// The host on which a call of `caller` is served.
    ///
    /// # Errors
    /// [`Code::TryAgain`] where its mount namespace cannot be seen or entered, and no other can take its place.
    pub(crate) fn of(&self, caller: &Caller) -> Result<Host, CniError> {
        match (self.0.as_ref(), caller.0.as_ref()) {
            (Kind::Same(host), _) => Ok(host.clone()),
            (Kind::Callers(callers), Seen::In(namespace, runtime)) => {
                let host = callers.enter(namespace).map_err(|error| away(&error))?;
                callers.remember(&host, runtime.as_ref());
                Ok(host)
            }
            (Kind::Callers(_), Seen::Hidden) => Err(hidden()),
            (Kind::Callers(_), Seen::Unknown(error)) => {
                tracing::warn!(%error, "the caller's mount namespace cannot be seen; taking the last caller's");
                self.for_cleanup()
            }
            (Kind::Callers(_), Seen::Anyone) => self.for_cleanup(),
        }
    }

    /// The host for what nobody asks for any more: where the last call came from, or else where the runtime is that an
    /// earlier daemon served last, or else where the machine's first process is.
    ///
    /// # Errors
    /// [`Code::TryAgain`] where that cannot be entered.
    pub(crate) fn for_cleanup(&self) -> Result<Host, CniError> {
        let callers = match self.0.as_ref() {
            Kind::Same(host) => return Ok(host.clone()),
            Kind::Callers(callers) => callers,
        };
        let (last, earlier) = {
            let known = callers.known();
            (known.last.clone(), known.written.clone())
        };
        if let Some(last) = last {
            return Ok(last);
        }
        if let Some(Ok(host)) = earlier.map(|runtime| callers.enter(&runtime.namespace()?)) {
            return Ok(host);
        }
        let entered = File::open(&callers.stand_in).and_then(|namespace| callers.enter(&namespace));
        entered.map_err(|error| {
            let path = callers.stand_in.display();
            away(&io::Error::other(format!(
                "no runtime has called yet, and {path}: {error}"
            )))
        })
    }
}

impl Callers {
    /// Notes where the last call came from.
    fn remember(&self, host: &Host, runtime: Option<&Runtime>) {
        let mut known = self.known();
        known.last = Some(host.clone());
        let Some(runtime) = runtime.filter(|runtime| known.written.as_ref() != Some(runtime))
        else {
            return;
        };
        // Once for each start of a runtime. What cannot be written is written no better with the next call.
        known.written = Some(runtime.clone());
        if let Err(error) = runtime.write(&self.file) {
            tracing::warn!(%error, "a later plexusd will not know where the runtime is");
        }
    }

    /// The thread in that namespace.
    fn enter(&self, namespace: &File) -> io::Result<Host> {
        let id = FileId::from(&namespace.metadata()?);
        let mut known = self.known();
        if let Some(thread) = known.threads.get(&id).and_then(Weak::upgrade) {
            return Ok(Host(thread));
        }
        let host = Host::start(self.tokio.clone(), Place::Namespace(namespace.try_clone()?))?;
        known.threads.retain(|_, thread| thread.strong_count() > 0);
        known.threads.insert(id, Arc::downgrade(&host.0));
        Ok(host)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

fn hidden() -> CniError {
    let msg = "plexusd cannot see the processes that call it: it needs the host's PID namespace (hostPID: true in its pod)";
    CniError::new(Code::TryAgain, msg)
}

fn away(error: &io::Error) -> CniError {
    CniError::new(
        Code::TryAgain,
        format!("the mount namespace in which plugins run cannot be entered: {error}"),
    )
}

/// Whether something is mounted at `dir` itself. By the mount table: a directory that is bound from the same file
/// system cannot be told from its parent otherwise.
fn is_mount_point(dir: &Path) -> io::Result<bool> {
    let dir = match dir.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        dir => dir?,
    };
    let table = fs::read_to_string("/proc/thread-self/mountinfo")?;
    // Blanks are octal there.
    let dir = dir
        .to_string_lossy()
        .replace('\\', "\\134")
        .replace(' ', "\\040");
    Ok(table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .any(|mount_point| mount_point == dir))
}
