//! The environment of a call: the `CNI_*` variables.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::{CniError, Code, Version, validate_container_id, validate_ifname};
use crate::quote;

/// The operation that `CNI_COMMAND` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Attach a container to its networks.
    Add,
    /// Detach a container.
    Del,
    /// Verify that a container is still attached.
    Check,
    /// Report whether ADD can be served.
    Status,
    /// Remove everything that does not belong to a listed attachment.
    Gc,
    /// Print the supported versions.
    Version,
}

impl Verb {
    /// Parses `CNI_COMMAND`, which is case-sensitive (P-001).
    ///
    /// # Errors
    /// [`Code::InvalidEnvironment`].
    pub fn parse(text: &str) -> Result<Self, CniError> {
        Ok(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "STATUS" => Self::Status,
            "GC" => Self::Gc,
            "VERSION" => Self::Version,
            _ => {
                let msg = format!(
                    "unknown CNI_COMMAND {}; expected one of ADD, DEL, CHECK, STATUS, GC, VERSION",
                    quote(text)
                );
                return Err(CniError::new(Code::InvalidEnvironment, msg));
            }
        })
    }

    /// The value of `CNI_COMMAND`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Status => "STATUS",
            Self::Gc => "GC",
            Self::Version => "VERSION",
        }
    }

    /// The first version of the specification that has this verb (P-065, P-066).
    pub fn since(self) -> Version {
        match self {
            Self::Add | Self::Del | Self::Version => Version::V0_1_0,
            Self::Check => Version::V0_4_0,
            Self::Gc | Self::Status => Version::V1_1_0,
        }
    }

    /// The variables that this verb requires (P-003).
    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Add | Self::Check => &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"],
            Self::Del => &["CNI_CONTAINERID", "CNI_IFNAME"],
            Self::Gc => &["CNI_PATH"],
            Self::Status | Self::Version => &[],
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The environment of a call, validated. An empty variable counts as unset (P-005).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniEnv {
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// `CNI_CONTAINERID`; empty for STATUS, GC and VERSION.
    pub container_id: String,
    /// `CNI_NETNS`: a path. `None` if the sandbox is already gone.
    pub netns: Option<String>,
    /// `CNI_IFNAME`; empty for STATUS, GC and VERSION.
    pub ifname: String,
    /// `CNI_ARGS`, unparsed.
    pub args: String,
    /// The absolute directories in `CNI_PATH`, in order (P-020).
    pub path: Vec<PathBuf>,
    /// `CNI_NETNS_OVERRIDE`: whether `CNI_NETNS` may be the caller's own namespace (P-012).
    pub netns_override: bool,
}

impl CniEnv {
    /// Validates the environment.
    ///
    /// # Errors
    /// [`Code::InvalidEnvironment`]: one error that names all missing variables (P-004), else the
    /// first invalid value.
    pub fn from_map(env: &BTreeMap<String, String>) -> Result<Self, CniError> {
        let get = |key: &str| {
            env.get(key)
                .map(String::as_str)
                .filter(|value| !value.is_empty())
        };
        let verb = Verb::parse(get("CNI_COMMAND").unwrap_or_default())?;
        let missing: Vec<_> = verb
            .required()
            .iter()
            .copied()
            .filter(|key| get(key).is_none())
            .collect();
        if !missing.is_empty() {
            let mut msg = format!(
                "{verb} needs {}, which the runtime did not set",
                missing.join(", ")
            );
            // A missing CNI_PATH alone is not an error, but helps to fix the call (P-004).
            if verb != Verb::Gc && get("CNI_PATH").is_none() {
                msg.push_str("; CNI_PATH is not set either");
            }
            return Err(CniError::new(Code::InvalidEnvironment, msg));
        }
        let needs_container = matches!(verb, Verb::Add | Verb::Del | Verb::Check);
        let (container_id, ifname) = if needs_container {
            let container_id = get("CNI_CONTAINERID").unwrap_or_default();
            let ifname = get("CNI_IFNAME").unwrap_or_default();
            validate_container_id(container_id)?;
            validate_ifname(ifname).map_err(|error| CniError::from(error).context("CNI_IFNAME"))?;
            (container_id.to_owned(), ifname.to_owned())
        } else {
            (String::new(), String::new())
        };
        let path = get("CNI_PATH")
            .unwrap_or_default()
            .split(':')
            .filter(|dir| dir.starts_with('/'))
            .map(PathBuf::from)
            .collect();
        let netns_override =
            get("CNI_NETNS_OVERRIDE").is_some_and(|v| v == "1" || v.eq_ignore_ascii_case("true"));
        Ok(Self {
            verb,
            container_id,
            netns: get("CNI_NETNS").map(str::to_owned),
            ifname,
            args: get("CNI_ARGS").unwrap_or_default().to_owned(),
            path,
            netns_override,
        })
    }
}
