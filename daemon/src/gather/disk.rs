//! Network configurations on the node's disk. Everything here blocks; call it where that is allowed.
//!
//! `.conflist` files are lists, `.conf` and `.json` files single plugins; directories and other names are passed over
//! (R-015). A list in a file also gets the plugins in the directory of its name beside it (R-009); the configuration of a
//! definition never does, because a tenant could pick the node's chains by choosing a name (R-012).

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use plexus_api::cni::{CniError, Code, Defaults, NetworkConfig, Version};
use plexus_api::json::MAX_CONFIG;
use serde_json::value::RawValue;
use tracing::warn;

use super::samples::is_sample;
use crate::cluster::Definition;
use crate::model::refers_to_us;

const LIST: &[&str] = &["conflist"];
const SINGLE: &[&str] = &["conf", "json"];
const ANY: &[&str] = &["conflist", "conf", "json"];

/// The network that `source` names: a directory or a file where it has a `/`, else the name of a network in `conf_dir`
/// (K-061). `version` is for a configuration that has none.
///
/// # Errors
/// [`Code::UnknownNetwork`] where there is none, else what is wrong with the file.
pub(crate) fn network(
    source: &str,
    conf_dir: &Path,
    version: Version,
) -> Result<NetworkConfig, CniError> {
    let path = Path::new(source);
    if !source.contains('/') {
        by_name(conf_dir, source, version)
    } else if path.is_dir() {
        from_directory(path, version)
    } else {
        from_file(path, version)
    }
}

/// The network `name` out of `conf_dir`: lists first, then single plugins, each in the order of file names. Broken files
/// are passed over with a warning, and stand in the details of the error.
///
/// # Errors
/// [`Code::UnknownNetwork`] where no file has that name; what is wrong with the plugins beside the one that has it.
pub(crate) fn by_name(
    conf_dir: &Path,
    name: &str,
    version: Version,
) -> Result<NetworkConfig, CniError> {
    let mut broken = Broken::default();
    for extensions in [LIST, SINGLE] {
        for path in files(conf_dir, extensions).map_err(|error| unreadable(conf_dir, &error))? {
            match read(&path, version) {
                Ok(config) if config.name == name => return with_siblings(config, &path, version),
                Ok(_) => {}
                Err(error) => broken.pass_over(&error),
            }
        }
    }
    Err(broken.error(format!("no network {name:?} in {}", conf_dir.display())))
}

/// The first network in the directory that can be used, in the order of file names. A file that leads back to Plexus or
/// Multus is not one (K-071), nor is a sample; broken files are passed over with a warning. All stand in the details of
/// the error.
///
/// # Errors
/// [`Code::UnknownNetwork`] where there is none.
pub(crate) fn from_directory(dir: &Path, version: Version) -> Result<NetworkConfig, CniError> {
    let first = first_in(dir, None, version)?;
    for error in first.broken {
        warn!("network configuration passed over: {error}");
    }
    first.read
}

/// The file of a directory that counts.
pub(super) struct First {
    /// Which it is.
    pub(crate) file: PathBuf,
    /// The network in it, or why it cannot be used now.
    pub(crate) read: Result<NetworkConfig, CniError>,
    /// What is wrong with the files that were passed over for it.
    pub(crate) broken: Vec<String>,
}

/// The same with its file. The file `kept` is the one even where it cannot be used now.
///
/// # Errors
/// [`Code::UnknownNetwork`] where there is none.
pub(super) fn first_in(
    dir: &Path,
    kept: Option<&Path>,
    version: Version,
) -> Result<First, CniError> {
    let (mut passed_over, mut broken) = (Broken::default(), Vec::new());
    for path in files(dir, ANY).map_err(|error| unreadable(dir, &error))? {
        if is_sample(&path) {
            passed_over
                .0
                .push(format!("{} is a sample", path.display()));
            continue;
        }
        match from_file(&path, version) {
            Ok(config) => match refers_to_us(&config) {
                Some(kind) => passed_over
                    .0
                    .push(format!("{} leads back to {kind}", path.display())),
                None => {
                    return Ok(First {
                        file: path,
                        read: Ok(config),
                        broken,
                    });
                }
            },
            Err(error) if kept == Some(path.as_path()) => {
                return Ok(First {
                    file: path,
                    read: Err(error),
                    broken,
                });
            }
            Err(error) => {
                passed_over.0.push(error.msg.clone());
                broken.push(error.msg);
            }
        }
    }
    Err(passed_over.error(format!("no default network in {}", dir.display())))
}

/// The network in one file.
///
/// # Errors
/// [`Code::UnknownNetwork`] where there is no such file, else what is wrong with it.
pub(crate) fn from_file(path: &Path, version: Version) -> Result<NetworkConfig, CniError> {
    with_siblings(read(path, version)?, path, version)
}

/// The network of a definition: its own configuration, which gets the definition's name where it has none (K-005), or,
/// where it has none at all, the network of its name in `conf_dir` (K-003).
///
/// # Errors
/// Does not name the definition. A configuration that is there and wrong is an error, whatever is on disk (K-004).
pub(crate) fn definition_network(
    definition: &Definition,
    conf_dir: &Path,
    version: Version,
) -> Result<NetworkConfig, CniError> {
    let name = &definition.name;
    match definition.config.as_deref() {
        None | Some("") => by_name(conf_dir, name, version),
        Some(text) => NetworkConfig::parse(
            text,
            Defaults {
                name: Some(name),
                version,
            },
        )
        .and_then(NetworkConfig::require_plugin)
        .map_err(|error| CniError::from(error).context("its network-attachment-definition")),
    }
}

/// The files of `dir` with one of these extensions, in the order of their names.
fn files(dir: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let extension = path.extension().and_then(OsStr::to_str);
        // Follows links; opening anything but a file might block.
        if extension.is_some_and(|extension| extensions.contains(&extension)) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// The text of a file, one byte more than is accepted at most.
fn text(path: &Path) -> Result<String, CniError> {
    let wrong = |error: io::Error| unreadable(path, &error);
    if !fs::metadata(path).map_err(wrong)?.is_file() {
        return Err(CniError::new(
            Code::InvalidConfig,
            format!("{} is not a regular file", path.display()),
        ));
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_CONFIG as u64 + 1).read_to_string(&mut text))
        .map_err(wrong)?;
    Ok(text)
}

/// The network in a file, without the plugins beside it.
fn read(path: &Path, version: Version) -> Result<NetworkConfig, CniError> {
    NetworkConfig::parse(
        &text(path)?,
        Defaults {
            name: None,
            version,
        },
    )
    .map_err(|error| CniError::from(error).context(path.display()))
}

/// Appends the plugins in the directory of the network's name beside `path`: `*.conf`, by name, not deeper. The name
/// has been checked: it cannot lead elsewhere.
fn with_siblings(
    mut config: NetworkConfig,
    path: &Path,
    version: Version,
) -> Result<NetworkConfig, CniError> {
    if !config.load_only_inlined_plugins {
        let dir = path.with_file_name(&config.name);
        let siblings = match files(&dir, &["conf"]) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Vec::new()
            }
            siblings => siblings.map_err(|error| unreadable(&dir, &error))?,
        };
        for sibling in siblings {
            let plugins = plugin(&text(&sibling)?, &config.name, version);
            config.plugins.extend(
                plugins
                    .map_err(|error| error.context(sibling.display()))?
                    .plugins,
            );
        }
    }
    config
        .require_plugin()
        .map_err(|error| CniError::from(error).context(path.display()))
}

/// One plugin object, checked as a member of a list.
fn plugin(text: &str, network: &str, version: Version) -> Result<NetworkConfig, CniError> {
    let object: &RawValue = serde_json::from_str(text)
        .map_err(|error| CniError::new(Code::Decode, error.to_string()))?;
    let list = format!(r#"{{"plugins":[{object}]}}"#);
    Ok(NetworkConfig::parse(
        &list,
        Defaults {
            name: Some(network),
            version,
        },
    )?)
}

fn unreadable(path: &Path, error: &io::Error) -> CniError {
    let code = match error.kind() {
        io::ErrorKind::NotFound => Code::UnknownNetwork,
        io::ErrorKind::InvalidData => Code::Decode,
        _ => Code::Io,
    };
    CniError::new(code, format!("{} cannot be read: {error}", path.display()))
}

/// The files that were passed over.
#[derive(Default)]
struct Broken(Vec<String>);

impl Broken {
    fn pass_over(&mut self, error: &CniError) {
        warn!("network configuration passed over: {}", error.msg);
        self.0.push(error.msg.clone());
    }

    /// [`Code::UnknownNetwork`], with the files that might have been meant.
    fn error(self, msg: String) -> CniError {
        let error = CniError::new(Code::UnknownNetwork, msg);
        if self.0.is_empty() {
            error
        } else {
            error.with_details(format!("passed over: {}", self.0.join("; ")))
        }
    }
}

#[cfg(test)]
mod tests;
