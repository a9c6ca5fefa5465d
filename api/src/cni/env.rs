//! The environment of a call: `CNI_COMMAND` and the variables that go with it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::{CniError, Code, validate_container_id, validate_ifname};

/// `CNI_COMMAND`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Attach the container.
    Add,
    /// Detach it.
    Del,
    /// Verify that it is attached as it was.
    Check,
    /// Say whether ADD can be served.
    Status,
    /// Remove what belongs to no listed attachment.
    Gc,
    /// Print the versions.
    Version,
}

impl Verb {
    /// The verb of exactly this spelling (P-001).
    ///
    /// # Errors
    /// [`Code::InvalidEnvironment`], with the text.
    pub fn parse(text: &str) -> Result<Self, CniError> {
        Ok(match text {
            "ADD" => Self::Add,
            "DEL" => Self::Del,
            "CHECK" => Self::Check,
            "STATUS" => Self::Status,
            "GC" => Self::Gc,
            "VERSION" => Self::Version,
            _ => {
                let msg =
                    format!("CNI_COMMAND {text:?} is none of ADD, DEL, CHECK, STATUS, GC, VERSION");
                return Err(CniError::new(Code::InvalidEnvironment, msg));
            }
        })
    }

    /// The verb as it stands in `CNI_COMMAND`.
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

    /// The variables without which this verb cannot run (P-003).
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

/// The checked environment of one call. A variable that is set but empty counts as unset (P-005).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniEnv {
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// `CNI_CONTAINERID`; empty for STATUS, GC and VERSION.
    pub container_id: String,
    /// `CNI_NETNS`: a path, absent where the sandbox is already gone.
    pub netns: Option<String>,
    /// `CNI_IFNAME`; empty for STATUS, GC and VERSION.
    pub ifname: String,
    /// `CNI_ARGS`, unparsed.
    pub args: String,
    /// `CNI_PATH`: the absolute directories of it, in order (P-020).
    pub path: Vec<PathBuf>,
    /// Whether the caller allows `CNI_NETNS` to be its own namespace (P-012).
    pub netns_override: bool,
}

impl CniEnv {
    /// Checks the variables that the verb needs, all in one error (P-004), and the form of those that are there.
    ///
    /// # Errors
    /// [`Code::InvalidEnvironment`] names each variable that is missing or wrong.
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
            // Not an error by itself, but whoever repairs the call wants to know all of it (P-004).
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
            validate_ifname(ifname).map_err(|error| error.context("CNI_IFNAME"))?;
            (container_id.to_owned(), ifname.to_owned())
        } else {
            (String::new(), String::new())
        };
        let path = get("CNI_PATH").unwrap_or_default();
        let path = path
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
