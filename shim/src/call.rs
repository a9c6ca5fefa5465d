//! One call: checked, handed to the daemon, answered.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use plexus_api::cni::{CniEnv, CniError, Code, Verb, Version};
use plexus_api::wire;

use crate::config::Config;
use crate::daemon::Away;
use crate::http::Request;
use crate::settings::Settings;
use crate::{answer, daemon, input, output, spool};

/// How long a runtime may take to write the configuration.
const STDIN_DEADLINE: Duration = Duration::from_secs(30);
/// What goes to the daemon beside `CNI_*`: the caller's trace. The rest of its environment may hold secrets.
const TRACE_VARIABLES: [&str; 3] = ["TRACEPARENT", "TRACESTATE", "BAGGAGE"];

/// An error and the version in which it is told (P-039).
pub struct Failure {
    /// The configuration's version where it is known, else the newest.
    pub version: Version,
    /// What went wrong.
    pub error: CniError,
}

/// The variables of this process that are part of the call. What is not UTF-8 is made so: it then fails the checks
/// of its variable.
pub fn environment() -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (key, value) in env::vars_os() {
        let key = key.to_string_lossy();
        if key.starts_with("CNI_") || TRACE_VARIABLES.contains(&key.as_ref()) {
            variables.insert(key.into_owned(), value.to_string_lossy().into_owned());
        }
    }
    variables
}

/// Serves the call, and returns what is to be printed, if anything.
pub fn run(env: &BTreeMap<String, String>) -> Result<Option<String>, Failure> {
    let stdin = input::read(STDIN_DEADLINE).map_err(|error| {
        CniError::new(
            Code::Io,
            format!("the configuration on stdin cannot be read: {error}"),
        )
    });
    let config = stdin
        .as_deref()
        .map_err(Clone::clone)
        .and_then(Config::parse);
    let known = config
        .as_ref()
        .ok()
        .and_then(|config| config.version().ok());
    let version = known.unwrap_or(Version::LATEST);
    output::report_panics(version);
    let served = CniEnv::from_map(env).and_then(|call| {
        let request = wire::Request {
            env: env.clone(),
            config: stdin.clone().unwrap_or_default(),
            at: None,
        };
        serve(&call, &config?, &request)
    });
    served.map_err(|error| {
        let is_del = env
            .get("CNI_COMMAND")
            .is_some_and(|command| command == Verb::Del.as_str());
        Failure {
            version,
            error: if is_del { error.for_del() } else { error },
        }
    })
}

fn serve(
    call: &CniEnv,
    config: &Config,
    request: &wire::Request,
) -> Result<Option<String>, CniError> {
    fail_when_told(call.verb);
    config.check(call.verb)?;
    refuse_own_netns(call)?;
    let settings = settings(call.verb, config)?;
    let body = to_json(request)?;
    if body.len() > wire::MAX_REQUEST {
        let msg = format!(
            "the call is {} bytes, more than the {} that are accepted",
            body.len(),
            wire::MAX_REQUEST
        );
        return Err(CniError::new(Code::Decode, msg));
    }
    let uninstalled = call.verb == Verb::Del && spool::uninstalled(&settings.state_dir);
    let wait = if uninstalled {
        Duration::ZERO
    } else {
        settings.wait(call.verb)
    };
    match daemon::ask(&Request::post_cni(&body), &settings.socket, call.verb, wait) {
        Ok(answer) => answer::document(&answer, call.verb, config.version()?),
        Err(away) if uninstalled && away.unseen => {
            output::log("Plexus is uninstalled on this node and nothing is left to delete");
            Ok(None)
        }
        Err(away) => without_daemon(call, &settings, request, &away),
    }
}

/// Refuses the caller's own network namespace: its interfaces are not ours to touch (P-012), and that must be known
/// before anything is done (P-013).
fn refuse_own_netns(call: &CniEnv) -> Result<(), CniError> {
    let Some(netns) = call
        .netns
        .as_deref()
        .filter(|_| matches!(call.verb, Verb::Add | Verb::Del))
    else {
        return Ok(());
    };
    let identity = |path: &str| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    let own = identity("/proc/self/ns/net");
    if own.is_none() || own != identity(netns) || call.netns_override {
        return Ok(());
    }
    let msg =
        format!("CNI_NETNS {netns:?} is the network namespace of the caller, not of a sandbox");
    Err(CniError::new(Code::InvalidEnvironment, msg).with_details("CNI_NETNS_OVERRIDE=1 allows it"))
}

/// The settings. A wrong one is an error, but for DEL, which must get through: it is told on stderr.
fn settings(verb: Verb, config: &Config) -> Result<Settings, CniError> {
    let (settings, wrong) = Settings::read(config);
    for error in wrong {
        if verb != Verb::Del {
            return Err(error);
        }
        output::log(&format!("{error}; the default is used"));
    }
    Ok(settings)
}

fn to_json(request: &wire::Request) -> Result<Vec<u8>, CniError> {
    serde_json::to_vec(request).map_err(|error| {
        CniError::new(
            Code::Internal,
            format!("the call cannot be written as JSON: {error}"),
        )
    })
}

fn without_daemon(
    call: &CniEnv,
    settings: &Settings,
    request: &wire::Request,
    away: &Away,
) -> Result<Option<String>, CniError> {
    let code = if call.verb == Verb::Status {
        Code::NotAvailable
    } else {
        Code::TryAgain
    };
    if call.verb != Verb::Del {
        return Err(CniError::new(code, away.to_string()));
    }
    let body = to_json(&wire::Request {
        at: spool::now(),
        ..request.clone()
    })?;
    let spooled = match spool::write(&settings.state_dir, &call.container_id, &call.ifname, &body) {
        Ok(path) => path,
        Err(error) => {
            let dir = settings.state_dir.display();
            return Err(CniError::new(
                code,
                format!("{away}; and the DEL cannot be kept for it in {dir}: {error}"),
            ));
        }
    };
    let msg = format!("{away}; the DEL waits for it in {}", spooled.display());
    if settings.spooled_is_success {
        output::log(&msg);
        return Ok(None);
    }
    Err(CniError::new(code, msg))
}

/// Lets a test see what a panic does (P-046); not in what ships.
#[cfg(debug_assertions)]
fn fail_when_told(verb: Verb) {
    assert!(
        env::var_os("PLEXUS_FAILPOINT").is_none(),
        "failpoint: {verb} not found"
    );
}
#[cfg(not(debug_assertions))]
fn fail_when_told(_: Verb) {}
