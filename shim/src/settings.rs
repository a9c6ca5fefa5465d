//! The shim's own keys in the configuration on stdin.

use std::path::PathBuf;
use std::time::Duration;

use plexus_api::cni::{CniError, Code, Verb};
use plexus_api::{duration, wire};
use serde_json::value::RawValue;

use crate::config::Config;

/// What an administrator can set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The daemon's socket, in `daemonSocketDir`.
    pub socket: PathBuf,
    /// `stateDir`: where ledger and spool are.
    pub state_dir: PathBuf,
    /// `delWhenDown` is `spool`: a DEL that is safely spooled is a success (P-094).
    pub spooled_is_success: bool,
    wait_add: Duration,
    wait_del: Duration,
    wait_status: Duration,
}

impl Settings {
    /// Reads the settings. One with a wrong value keeps its default and is among the errors, which have
    /// [`Code::UnsupportedField`] and name key and value (P-034).
    pub fn read(config: &Config) -> (Self, Vec<CniError>) {
        let mut wrong = Vec::new();
        let mut setting = |key: &str, default: &str| {
            let text = config.text(key).unwrap_or_else(|_| {
                let value = config.raw(key).map(RawValue::get).unwrap_or_default();
                wrong.push(unsupported(key, &format!("{value} is not a string")));
                None
            });
            text.unwrap_or_else(|| default.to_owned())
        };
        let socket_dir = setting("daemonSocketDir", wire::SOCKET_DIR);
        let state_dir = setting("stateDir", wire::STATE_DIR);
        let waits = [
            ("daemonWaitAdd", "30s"),
            ("daemonWaitDel", "2s"),
            ("daemonWaitStatus", "10s"),
        ]
        .map(|(key, default)| (key, default, setting(key, default)));
        let del_when_down = setting("delWhenDown", "retry");
        let [wait_add, wait_del, wait_status] = waits.map(|(key, default, text)| {
            duration::parse(&text).unwrap_or_else(|error| {
                wrong.push(unsupported(key, &error.to_string()));
                duration::parse(default).unwrap_or_default()
            })
        });
        if !["retry", "spool"].contains(&del_when_down.as_str()) {
            wrong.push(unsupported(
                "delWhenDown",
                &format!("{del_when_down:?} is neither \"retry\" nor \"spool\""),
            ));
        }
        let settings = Self {
            socket: PathBuf::from(socket_dir).join(wire::SOCKET_NAME),
            state_dir: PathBuf::from(state_dir),
            spooled_is_success: del_when_down == "spool",
            wait_add,
            wait_del,
            wait_status,
        };
        (settings, wrong)
    }

    /// How long `verb` waits for a daemon that is away.
    pub fn wait(&self, verb: Verb) -> Duration {
        match verb {
            Verb::Del => self.wait_del,
            Verb::Status => self.wait_status,
            Verb::Add | Verb::Check | Verb::Gc | Verb::Version => self.wait_add,
        }
    }
}

fn unsupported(key: &str, why: &str) -> CniError {
    CniError::new(
        Code::UnsupportedField,
        format!("configuration key {key}: {why}"),
    )
}
