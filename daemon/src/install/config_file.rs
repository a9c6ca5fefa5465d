//! Our file in the runtime's directory: written, kept, and put back. Blocking.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::cni::{NetworkConfig, PluginConfig, RawMap};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::document;
use crate::atomic_file::{AtomicFile, remove_if_present, temporary_path};
use crate::config::{Fields, Publish};

/// Runtimes load the first file by name (C-14).
pub(super) const FILE: &str = "00-plexus.conflist";
/// How long a file that is no JSON is left alone: who appends to it may be writing it in place.
const GRACE: Duration = Duration::from_secs(1);
/// After so many times in a row somebody else wants the directory for himself.
const CONTESTED: u32 = 5;

/// Our file.
#[derive(Debug)]
pub(super) struct ConfigFile {
    publish: Publish,
    path: PathBuf,
    shim_keys: RawMap,
    /// The plugins that others appended to our list, as they were seen last.
    others: Vec<PluginConfig>,
    /// What the file was when it was last in order.
    settled: Option<String>,
    /// Since when it is no JSON.
    broken: Option<Instant>,
    backoff: Backoff,
    restored: u64,
}

/// What became of [`ConfigFile::bring`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    /// The file was written.
    pub(crate) now: bool,
    /// It is to be written at this time, so as not to quarrel.
    pub(crate) later: Option<Instant>,
}

impl ConfigFile {
    pub(super) fn new(publish: Publish, fields: &Fields) -> Self {
        let path = publish.dir.join(FILE);
        let shim_keys = document::shim_keys(fields);
        let (others, backoff) = (Vec::new(), Backoff::default());
        Self {
            publish,
            path,
            shim_keys,
            others,
            settled: None,
            broken: None,
            backoff,
            restored: 0,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn dir(&self) -> &Path {
        &self.publish.dir
    }

    /// Whether it has been in order once.
    pub(super) fn is_published(&self) -> bool {
        self.settled.is_some()
    }

    /// How often it was put back.
    pub(super) fn restored(&self) -> u64 {
        self.restored
    }

    /// That somebody keeps taking it away, and what to change; and until when that is said, if it is left alone now. The
    /// words are the same each time.
    pub(super) fn contested(&self, now: Instant) -> Option<(String, Instant)> {
        let (_, until) = self
            .backoff
            .row(now)
            .filter(|(count, _)| *count >= CONTESTED)?;
        let who = if self.renamed_by_cilium().exists() {
            "Cilium renames it: set cni.exclusive to false in its Helm values"
        } else {
            "find out which network plugin does, and turn off that it wants the directory for itself (cni.exclusive for \
             Cilium)"
        };
        Some((
            format!(
                "{} is taken away or changed again and again; {who}",
                self.path.display()
            ),
            until,
        ))
    }

    fn renamed_by_cilium(&self) -> PathBuf {
        self.path.with_file_name(format!("{FILE}.cilium_bak"))
    }

    /// Writes the file for this default network, unless it says the same already (C-16). A file that others have changed
    /// since is put back with pauses that grow.
    pub(super) fn bring(
        &mut self,
        default_network: &NetworkConfig,
        now: Instant,
    ) -> io::Result<Written> {
        let current = read(&self.path)?;
        if let Some(others) = current.as_deref().and_then(document::others) {
            self.others = others;
        }
        let wanted = document::render(
            &self.shim_keys,
            default_network,
            self.publish.override_name,
            &self.others,
        );
        if let Some(current) = current
            .as_deref()
            .filter(|current| document::same(current, &wanted))
        {
            self.settled = Some(current.to_owned());
            return Ok(Written {
                now: false,
                later: None,
            });
        }
        if let Some(later) = self.broken_until(current.as_deref(), now) {
            return Ok(Written {
                now: false,
                later: Some(later),
            });
        }
        if self.settled.is_some() && self.settled != current {
            if let Err(later) = self.backoff.next(now) {
                return Ok(Written {
                    now: false,
                    later: Some(later),
                });
            }
            self.restored += 1;
            let how = if current.is_some() {
                "changed"
            } else {
                "taken away"
            };
            tracing::warn!(file = %self.path.display(), "the runtime's configuration was {how}; it is put back");
        }
        let mut overtaken = false;
        let file = AtomicFile::new(&self.path, 0o600).durable();
        let placed = file.write_checked(wanted.as_bytes(), |_| {
            // Who has appended to it meanwhile would lose that.
            overtaken = read(&self.path)? != current;
            if overtaken {
                Err(io::ErrorKind::Interrupted.into())
            } else {
                Ok(())
            }
        });
        if overtaken {
            return Ok(Written {
                now: false,
                later: Some(now),
            });
        }
        placed?;
        tracing::info!(file = %self.path.display(), "the runtime's configuration is published");
        self.settled = Some(wanted);
        Ok(Written {
            now: true,
            later: None,
        })
    }

    /// Until when the file is left alone because it is no JSON.
    fn broken_until(&mut self, current: Option<&str>, now: Instant) -> Option<Instant> {
        if current.is_none_or(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()) {
            self.broken = None;
            return None;
        }
        let until = *self.broken.get_or_insert(now) + GRACE;
        (now < until).then_some(until)
    }

    /// The first file that the runtime would load in place of ours.
    pub(super) fn before(&self) -> Option<PathBuf> {
        self.loadable()
            .into_iter()
            .next()
            .filter(|first| *first < self.path)
    }

    /// Removes the file, once the runtime has another one to load; what is missing for that.
    pub(super) fn withdraw(&self) -> io::Result<Result<(), String>> {
        if self
            .path
            .symlink_metadata()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        {
            // Nothing that an interrupted write left stays, nor what Cilium might give back when it goes.
            return [temporary_path(&self.path), self.renamed_by_cilium()]
                .iter()
                .try_for_each(|file| remove_if_present(file))
                .map(Ok);
        }
        let next = self.loadable().into_iter().find(|path| *path != self.path);
        let why = match next
            .as_deref()
            .map(|next| fs::read_to_string(next).map(|text| document::usable(&text)))
        {
            Some(Ok(Ok(()))) => {
                remove_if_present(&self.path)?;
                return self.withdraw();
            }
            Some(Ok(Err(why))) => why,
            Some(Err(error)) => error.to_string(),
            None => "there is none".to_owned(),
        };
        let next = next.unwrap_or_else(|| self.publish.dir.clone());
        Ok(Err(format!(
            "{} stays until the runtime has another configuration for pods: {}: {why}",
            self.path.display(),
            next.display()
        )))
    }

    /// The files that a runtime loads, in its order (C-14). It passes over directories.
    fn loadable(&self) -> Vec<PathBuf> {
        let endings = ["conf", "conflist", "json"].map(OsStr::new);
        let entries = fs::read_dir(&self.publish.dir)
            .into_iter()
            .flatten()
            .flatten();
        let mut paths: Vec<_> = entries
            .filter(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|ending| endings.contains(&ending))
            })
            .collect();
        paths.sort_unstable();
        paths
    }
}

/// The text of the file; none where it is not there. What is no text is as good as broken.
fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("{}: {error}", path.display()),
        )),
    }
}

#[cfg(test)]
mod tests;
