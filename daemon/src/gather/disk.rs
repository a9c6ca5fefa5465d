//! Network configurations on the node's disk. All functions block, except [`blocking`].
//!
//! `.conflist` files are lists, `.conf` and `.json` files are single plugins; directories and other
//! names are ignored. A list also gets the plugins in the sibling directory with the
//! network's name. The configuration of a definition never does, because a tenant could
//! then add the node's plugins by choosing a name.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use plexus_api::cni::{ConfigError, Defaults, MAX_PLUGINS, NetworkConfig, PluginConfig, Version};
use plexus_api::json::{LimitError, MAX_CONFIG};
use plexus_api::quote;
use tracing::warn;

use super::samples::is_sample;
use crate::model::{Network, meta_plugin_type};
use crate::regular_file;

const LIST: &[&str] = &["conflist"];
const SINGLE: &[&str] = &["conf", "json"];
const ANY: &[&str] = &["conflist", "conf", "json"];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DiskError {
    #[error("no network {} in {}{}", quote(.name), .dir.display(), skipped_files(.skipped))]
    NoNetwork {
        name: String,
        dir: PathBuf,
        skipped: Vec<DiskError>,
    },
    #[error("no default network in {}{}", .dir.display(), skipped_files(.skipped))]
    NoDefaultNetwork {
        dir: PathBuf,
        skipped: Vec<DiskError>,
    },
    #[error("{} cannot be read: {error}", .path.display())]
    Unreadable {
        path: PathBuf,
        kind: io::ErrorKind,
        error: String,
    },
    #[error("{} is not a regular file", .0.display())]
    NotAFile(PathBuf),
    #[error("{}: {source}", .path.display())]
    Invalid { path: PathBuf, source: ConfigError },
    #[error("{} is a sample, which multusMasterCNI can select", .0.display())]
    Sample(PathBuf),
    /// The network would call Plexus again (K-071).
    #[error("{} has a plugin of type {kind:?}, which would call Plexus again", .path.display())]
    MetaPlugin { path: PathBuf, kind: String },
    #[error("a task that reads network configurations panicked: {0}")]
    Panicked(String),
}

impl DiskError {
    /// Whether the network, the file or the directory does not exist.
    pub(super) fn is_missing(&self) -> bool {
        match self {
            Self::NoNetwork { .. } | Self::NoDefaultNetwork { .. } => true,
            Self::Unreadable { kind, .. } => *kind == io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// The file, if the error is about a single one.
    pub(super) fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Unreadable { path, .. } | Self::Invalid { path, .. } => Some(path.clone()),
            _ => None,
        }
    }

    /// The files that were skipped, and may have been meant.
    pub(super) fn into_skipped(self) -> Vec<DiskError> {
        match self {
            Self::NoNetwork { skipped, .. } => skipped,
            _ => Vec::new(),
        }
    }

    /// Whether an administrator must fix the file.
    fn is_broken(&self) -> bool {
        !matches!(self, Self::Sample(_) | Self::MetaPlugin { .. })
    }

    fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            kind: error.kind(),
            error: error.to_string(),
        }
    }

    fn invalid(path: &Path, source: ConfigError) -> Self {
        Self::Invalid {
            path: path.to_owned(),
            source,
        }
    }
}

pub(super) fn skipped_files(skipped: &[DiskError]) -> String {
    if skipped.is_empty() {
        return String::new();
    }
    // The files that an administrator must fix come first.
    let (broken, others): (Vec<_>, Vec<_>) = skipped.iter().partition(|error| error.is_broken());
    let texts: Vec<_> = broken
        .into_iter()
        .chain(others)
        .map(ToString::to_string)
        .collect();
    format!("; skipped files: {}", texts.join("; "))
}

/// Runs a function that reads files on a thread where blocking is allowed.
pub(super) async fn blocking<T, E>(
    read: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<DiskError> + Send + 'static,
{
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|panic| Err(DiskError::Panicked(panic.to_string()).into()))
}

/// The network of a configuration on disk.
pub(super) fn on_disk(config: NetworkConfig) -> Network {
    Network {
        name: config.name.clone(),
        namespace: None,
        resource_name: None,
        config: config.into(),
    }
}

/// Parses a configuration.
pub(super) fn parse(text: &str, default_name: Option<&str>) -> Result<NetworkConfig, ConfigError> {
    NetworkConfig::parse(text, defaults(default_name))
}

/// A missing `cniVersion` means 1.0.0.
fn defaults(name: Option<&str>) -> Defaults<'_> {
    Defaults {
        name,
        version: Version::V1_0_0,
    }
}

/// The network that `source` names: a directory or a file if `source` has a `/`, else the name of a
/// network in `conf_dir` (K-061).
pub(super) fn network(source: &str, conf_dir: &Path) -> Result<NetworkConfig, DiskError> {
    let path = Path::new(source);
    if !source.contains('/') {
        by_name(conf_dir, source)
    } else if path.is_dir() {
        from_directory(path)
    } else {
        from_file(path)
    }
}

/// The network `name` in `conf_dir`: lists first, then single plugins, each in the order of file
/// names. Broken files are skipped with a warning.
pub(super) fn by_name(conf_dir: &Path, name: &str) -> Result<NetworkConfig, DiskError> {
    let mut skipped = Vec::new();
    for extensions in [LIST, SINGLE] {
        for path in files(conf_dir, extensions)? {
            match read(&path) {
                Ok(config) if config.name == name => return with_siblings(config, &path),
                Ok(_) => {}
                Err(error) => {
                    warn!("network configuration skipped: {error}");
                    skipped.push(error);
                }
            }
        }
    }
    Err(DiskError::NoNetwork {
        name: name.to_owned(),
        dir: conf_dir.to_owned(),
        skipped,
    })
}

/// The first usable network of the directory, in the order of file names. Samples and networks that
/// call Plexus or Multus (K-071) are skipped, and so are broken files, with a warning.
pub(super) fn from_directory(dir: &Path) -> Result<NetworkConfig, DiskError> {
    let selected = select_file(dir, None)?;
    for error in selected.broken {
        warn!("network configuration skipped: {error}");
    }
    selected.config
}

/// The file that was selected in a directory.
pub(super) struct SelectedFile {
    pub(super) path: PathBuf,
    /// The network, or the error for a broken file.
    pub(super) config: Result<NetworkConfig, DiskError>,
    /// The broken files that were skipped.
    pub(super) broken: Vec<DiskError>,
}

/// Like [`from_directory`], but also selects the file `keep` if it is broken, and does not log.
pub(super) fn select_file(dir: &Path, keep: Option<&Path>) -> Result<SelectedFile, DiskError> {
    let mut skipped = Vec::new();
    for path in files(dir, ANY)? {
        let config = from_file(&path);
        let network = config.as_ref().ok().map(|config| config.name.as_str());
        let config = if is_sample(&path, network) {
            Err(DiskError::Sample(path.clone()))
        } else {
            config.and_then(|config| refuse_meta_plugin(config, &path))
        };
        match config {
            Err(error) if !error.is_broken() || keep != Some(path.as_path()) => skipped.push(error),
            config => {
                skipped.retain(DiskError::is_broken);
                return Ok(SelectedFile {
                    path,
                    config,
                    broken: skipped,
                });
            }
        }
    }
    Err(DiskError::NoDefaultNetwork {
        dir: dir.to_owned(),
        skipped,
    })
}

/// The network in one file.
pub(super) fn from_file(path: &Path) -> Result<NetworkConfig, DiskError> {
    with_siblings(read(path)?, path)
}

/// Refuses a network that would call Plexus again (K-071).
pub(super) fn refuse_meta_plugin(
    config: NetworkConfig,
    path: &Path,
) -> Result<NetworkConfig, DiskError> {
    match meta_plugin_type(&config) {
        None => Ok(config),
        Some(kind) => Err(DiskError::MetaPlugin {
            path: path.to_owned(),
            kind,
        }),
    }
}

/// The files of `dir` with one of these extensions, in the order of their names.
fn files(dir: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, DiskError> {
    let list = || {
        let mut paths = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let extension = path.extension().and_then(OsStr::to_str);
            // `is_file` follows links. Opening anything except a file might block.
            if extension.is_some_and(|extension| extensions.contains(&extension)) && path.is_file()
            {
                paths.push(path);
            }
        }
        Ok(paths)
    };
    let mut paths = list().map_err(|error| DiskError::unreadable(dir, &error))?;
    paths.sort_unstable();
    Ok(paths)
}

/// The content of a file.
fn read_bytes(path: &Path) -> Result<Vec<u8>, DiskError> {
    regular_file::read(path, MAX_CONFIG as u64).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidInput => DiskError::NotAFile(path.to_owned()),
        io::ErrorKind::FileTooLarge => {
            DiskError::invalid(path, LimitError::Length(MAX_CONFIG).into())
        }
        _ => DiskError::unreadable(path, &error),
    })
}

/// The network in a file, without the plugins beside it.
fn read(path: &Path) -> Result<NetworkConfig, DiskError> {
    let text = read_bytes(path)?;
    // Other extensions only occur in a path that an administrator has set.
    let is_single = path
        .extension()
        .is_some_and(|extension| extension == "conf" || extension == "json");
    let config = if is_single {
        NetworkConfig::parse_plugin(&text, defaults(None))
    } else {
        NetworkConfig::parse(&text, defaults(None))
    };
    config.map_err(|error| DiskError::invalid(path, error))
}

/// Appends the plugins in the directory with the network's name beside `path`: its `*.conf` files,
/// in the order of their names, without subdirectories. The name is validated and cannot lead
/// elsewhere.
fn with_siblings(mut config: NetworkConfig, path: &Path) -> Result<NetworkConfig, DiskError> {
    if !config.load_only_inlined_plugins {
        let dir = path.with_file_name(&config.name);
        config = append_plugins(config, &dir)?;
    }
    config
        .require_plugin()
        .map_err(|error| DiskError::invalid(path, error))
}

/// Appends the plugins in the `*.conf` files of `dir`, in the order of their names. The directory
/// may be missing.
pub(super) fn append_plugins(
    mut config: NetworkConfig,
    dir: &Path,
) -> Result<NetworkConfig, DiskError> {
    let files = match files(dir, &["conf"]) {
        Err(DiskError::Unreadable {
            kind: io::ErrorKind::NotFound | io::ErrorKind::NotADirectory,
            ..
        }) => return Ok(config),
        files => files?,
    };
    let count = config.plugins.len() + files.len();
    if count > MAX_PLUGINS {
        let name = config.name;
        return Err(DiskError::invalid(
            dir,
            ConfigError::Plugins { name, count },
        ));
    }
    for path in files {
        let plugin = PluginConfig::parse(&read_bytes(&path)?);
        config
            .plugins
            .push(plugin.map_err(|error| DiskError::invalid(&path, error))?);
    }
    Ok(config)
}

#[cfg(test)]
mod tests;
