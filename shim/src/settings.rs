//! The shim's own keys in the configuration on stdin.

use std::path::PathBuf;
use std::time::Duration;

use plexus_api::cni::{CniError, Code, Verb};
use plexus_api::json::Object;
use plexus_api::{duration, quote, shorten, wire};

/// The shim's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShimSettings {
    /// The daemon's socket, in `daemonSocketDir`.
    pub socket: PathBuf,
    /// `stateDir`: the directory of the ledger and the spool.
    pub state_dir: PathBuf,
    /// Whether a spooled DEL is a success: `delWhenDown` is `spool` (P-094).
    pub spooled_is_success: bool,
    wait_add: Duration,
    wait_del: Duration,
    wait_status: Duration,
}

impl ShimSettings {
    /// Reads the settings, with the default for each invalid setting. Returns the errors, which
    /// have [`Code::UnsupportedField`] and name key and value (P-034).
    pub fn read(config: &Object) -> (Self, Vec<CniError>) {
        let mut errors = Vec::new();
        let mut setting = |key: &str, default: &str| {
            config
                .string(key)
                .unwrap_or_else(|value| {
                    errors.push(unsupported(
                        key,
                        &format!("{} is not a string", shorten(value.get())),
                    ));
                    None
                })
                .unwrap_or_else(|| default.to_owned())
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
            duration::parse_up_to(&text, duration::MAX).unwrap_or_else(|error| {
                errors.push(unsupported(key, &error.to_string()));
                duration::parse_up_to(default, duration::MAX).unwrap_or_default()
            })
        });
        if !["retry", "spool"].contains(&del_when_down.as_str()) {
            errors.push(unsupported(
                "delWhenDown",
                &format!(
                    "{} is neither \"retry\" nor \"spool\"",
                    quote(&del_when_down)
                ),
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
        (settings, errors)
    }

    /// How long `verb` waits for an unavailable daemon.
    pub fn wait(&self, verb: Verb) -> Duration {
        match verb {
            Verb::Del => self.wait_del,
            Verb::Status => self.wait_status,
            Verb::Add | Verb::Check | Verb::Gc | Verb::Version => self.wait_add,
        }
    }
}

fn unsupported(key: &str, reason: &str) -> CniError {
    CniError::new(
        Code::UnsupportedField,
        format!("configuration key {key}: {reason}"),
    )
}
