//! Publication, restoration and removal of our file in the runtime's configuration directory.
//! Blocking.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plexus_api::cni::{NetworkConfig, PluginConfig, RawMap};
use tokio::time::Instant;

use super::restore_limiter::RestoreLimiter;
use super::{Reconciled, conflist};
use crate::atomic_file::{AtomicFile, remove_if_present, temporary_path, with_path};
use crate::config::{Fields, PublishSettings};
use crate::gather::samples::is_sample;
use crate::problem::Problem;
use crate::regular_file;

/// The name of our file. Runtimes load the first file by name (C-14).
pub(super) const FILE: &str = "00-plexus.conflist";
/// The time for which invalid JSON is tolerated: another program may be writing the file in place.
const INVALID_GRACE: Duration = Duration::from_secs(1);
/// The number of recent restorations that counts as a conflict with another program.
const CONFLICT_THRESHOLD: u32 = 5;

#[derive(Debug)]
pub(super) struct ConfigFile {
    publish: PublishSettings,
    path: PathBuf,
    shim_keys: RawMap,
    /// The plugins that other programs had appended to our list when the list was last readable.
    appended: Vec<PluginConfig>,
    /// The content of the file when it was last correct.
    last_good: Option<String>,
    /// The time at which the file was first found to contain invalid JSON.
    invalid_since: Option<Instant>,
    limiter: RestoreLimiter,
    restored: u64,
}

impl ConfigFile {
    pub(super) fn new(publish: PublishSettings, fields: &Fields) -> Self {
        Self {
            path: publish.dir.join(FILE),
            publish,
            shim_keys: conflist::shim_keys(fields),
            appended: Vec::new(),
            last_good: None,
            invalid_since: None,
            limiter: RestoreLimiter::default(),
            restored: 0,
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.publish.dir
    }

    /// Whether the file has been correct at least once.
    pub(super) fn is_published(&self) -> bool {
        self.last_good.is_some()
    }

    /// The number of times that the file was restored.
    pub(super) fn restored(&self) -> u64 {
        self.restored
    }

    /// The conflict with another program that keeps removing or changing the file, if any: a
    /// problem, which does not change during the conflict, and the time at which the conflict ends
    /// if the file is left alone until then.
    pub(super) fn conflict(&self, now: Instant) -> Option<(Problem, Instant)> {
        let (_, end) = self
            .limiter
            .recent(now)
            .filter(|(count, _)| *count >= CONFLICT_THRESHOLD)?;
        let path = self.path.display();
        let problem = if let Some(problem) = self.renamed() {
            problem
        } else {
            Problem::new(
                format!("another program keeps removing or changing {path}"),
                "find the network plugin that takes exclusive control of the directory, and disable that (in Cilium: \
                 cni.exclusive)",
            )
        };
        Some((problem, end))
    }

    /// The problem if Cilium renames the file. `None` if Cilium does not.
    fn renamed(&self) -> Option<Problem> {
        let text = format!("Cilium keeps renaming {}", self.path.display());
        let remedy = "set cni.exclusive to false in its Helm values";
        self.renamed_by_cilium()
            .exists()
            .then(|| Problem::new(text, remedy))
    }

    fn renamed_by_cilium(&self) -> PathBuf {
        self.path.with_file_name(format!("{FILE}.cilium_bak"))
    }

    /// Writes the file for this default network, unless the content is already correct (C-16). A
    /// file that another program keeps changing is restored with increasing delays.
    pub(super) fn reconcile(
        &mut self,
        default_network: &NetworkConfig,
        now: Instant,
    ) -> io::Result<Reconciled> {
        let current = read(&self.path)?;
        if let Some(appended) = current.as_deref().and_then(conflist::appended_plugins) {
            self.appended = appended;
        }
        let wanted = conflist::render(
            &self.shim_keys,
            default_network,
            self.publish.override_name,
            &self.appended,
        );
        let grace_end = self.invalid_grace_end(current.as_deref(), now);
        if let Some(current) = &current
            && conflist::is_same_json(current, &wanted)
        {
            self.last_good = Some(current.clone());
            return Ok(Reconciled::Unchanged);
        }
        if let Some(end) = grace_end {
            return Ok(Reconciled::RetryAt(end));
        }
        if self.is_published() && self.last_good != current {
            if let Err(next) = self.limiter.acquire(now) {
                return Ok(Reconciled::RetryAt(next));
            }
            self.restored += 1;
            tracing::warn!(
                file = %self.path.display(),
                "restoring the runtime's configuration: another program {} the file",
                if current.is_some() { "changed" } else { "removed" }
            );
        }
        self.write(wanted, current.as_deref(), now)
    }

    fn write(
        &mut self,
        wanted: String,
        current: Option<&str>,
        now: Instant,
    ) -> io::Result<Reconciled> {
        let mut changed_meanwhile = false;
        let file = AtomicFile::new(&self.path, 0o600).durable();
        let written = file.write_checked(wanted.as_bytes(), |_| {
            // Otherwise a plugin that another program has just appended would be lost.
            changed_meanwhile = read(&self.path)?.as_deref() != current;
            if changed_meanwhile {
                Err(io::ErrorKind::Interrupted.into())
            } else {
                Ok(())
            }
        });
        if changed_meanwhile {
            return Ok(Reconciled::RetryAt(now));
        }
        written?;
        tracing::info!(file = %self.path.display(), "published the runtime's configuration");
        self.last_good = Some(wanted);
        Ok(Reconciled::Written)
    }

    /// The time until which a file with invalid JSON is left alone. Returns `None` if the JSON is
    /// valid, or if that time has passed.
    fn invalid_grace_end(&mut self, current: Option<&str>, now: Instant) -> Option<Instant> {
        if current.is_none_or(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()) {
            self.invalid_since = None;
            return None;
        }
        let end = *self.invalid_since.get_or_insert(now) + INVALID_GRACE;
        (now < end).then_some(end)
    }

    /// The file that the runtime loads instead of ours, because its name sorts first.
    fn preceding_file(&self) -> Option<PathBuf> {
        self.loadable_files()
            .into_iter()
            .next()
            .filter(|first| *first < self.path)
    }

    /// The problem that the runtime loads another file instead of ours.
    pub(super) fn not_first(&self) -> Option<Problem> {
        let text = format!(
            "{} sorts before {}, so the runtime loads that file",
            self.preceding_file()?.display(),
            self.path.display()
        );
        Some(Problem::new(text, "remove or rename it"))
    }

    /// How the file differs from the one for this default network. `None` if it does not. Without
    /// the default network, the file only has to be one of Plexus.
    pub(super) fn difference(&self, default_network: Option<&NetworkConfig>) -> Option<Problem> {
        const REMEDY: &str = "a running plexusd restores it; if it does not, its log says why";
        let path = self.path.display();
        let problem = |text: String| Some(Problem::new(text, REMEDY));
        let current = match read(&self.path) {
            Ok(None) => {
                return self
                    .renamed()
                    .or_else(|| problem(format!("{path} is missing")));
            }
            Ok(Some(current)) => current,
            Err(error) => return problem(format!("cannot read {error}")),
        };
        let Some(appended) = conflist::appended_plugins(&current) else {
            return problem(format!("{path} is not a configuration of Plexus"));
        };
        let (keys, override_name) = (&self.shim_keys, self.publish.override_name);
        let wanted = conflist::render(keys, default_network?, override_name, &appended);
        if conflist::is_same_json(&current, &wanted) {
            return None;
        }
        problem(format!(
            "{path} is not the configuration that plexusd would write"
        ))
    }

    /// Removes the file if the runtime has another configuration to load. Otherwise returns the
    /// reason why the file stays.
    pub(super) fn unpublish(&self) -> io::Result<Option<String>> {
        let is_missing = self
            .path
            .symlink_metadata()
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if !is_missing {
            let path = self.path.display();
            let next = match self.successor() {
                Ok(next) => next.display().to_string(),
                Err(reason) => {
                    return Ok(Some(format!(
                        "{path} stays until the runtime has another configuration: {reason}"
                    )));
                }
            };
            remove_if_present(&self.path)?;
            tracing::info!("removed {path}; the runtime now loads {next}");
            for other in self.referring_files() {
                tracing::warn!(
                    "{} refers to {path}, which was removed: restart that network plugin, so that it chooses another \
                     default network",
                    other.display()
                );
            }
        }
        // An interrupted write leaves a temporary file. Cilium restores its renamed copy when
        // Cilium is uninstalled.
        remove_if_present(&temporary_path(&self.path))?;
        remove_if_present(&self.renamed_by_cilium())?;
        Ok(None)
    }

    /// The file that the runtime loads without ours, if pods can start with that file. A sample of
    /// a package is no choice of an administrator.
    fn successor(&self) -> Result<PathBuf, String> {
        let next = self
            .loadable_files()
            .into_iter()
            .find(|path| *path != self.path)
            .ok_or_else(|| format!("{} contains no other", self.publish.dir.display()))?;
        let text = regular_file::read(&next, MAX_SIZE);
        let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let network = text.as_ref().ok();
        let network = network.and_then(|text| Some(conflist::parse(text).ok()?.name));
        let usable = if is_sample(&next, network.as_deref()) {
            Err("a sample that a package has installed; remove it, or install a file that sorts first".to_owned())
        } else {
            text.map_err(|error| error.to_string())
                .and_then(|text| conflist::check_usable(&text))
        };
        match usable {
            Ok(()) => Ok(next),
            Err(reason) => Err(format!("{}: {reason}", next.display())),
        }
    }

    /// The files of meta-plugins, such as Multus, that have taken ours for their default network.
    fn referring_files(&self) -> Vec<PathBuf> {
        let refers = |path: &PathBuf| {
            let bytes = regular_file::read(path, MAX_SIZE);
            bytes.is_ok_and(|bytes| conflist::refers_to(&String::from_utf8_lossy(&bytes), FILE))
        };
        self.loadable_files().into_iter().filter(refers).collect()
    }

    /// The files that a runtime loads, in its order (C-14). Runtimes skip directories.
    fn loadable_files(&self) -> Vec<PathBuf> {
        let extensions = ["conf", "conflist", "json"].map(OsStr::new);
        let mut paths: Vec<_> = fs::read_dir(&self.publish.dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extensions.contains(&extension))
            })
            .collect();
        paths.sort_unstable();
        paths
    }
}

/// The largest file that is read, in bytes.
const MAX_SIZE: u64 = 16 << 20;

/// The text of the file, or `None` if the file is missing. The text of anything but a text file
/// differs from ours.
fn read(path: &Path) -> io::Result<Option<String>> {
    match regular_file::read(path, MAX_SIZE) {
        Err(error) if regular_file::is_unusable(&error) => Ok(Some(String::new())),
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(with_path(path, &error)),
    }
}

#[cfg(test)]
mod tests;
