//! One CNI call: checks it, sends it to the daemon, and handles the response.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use plexus_api::cni::{CallConfig, CniEnv, CniError, Code, Verb, Version};
use plexus_api::json::Object;
use plexus_api::{quote, wire};

use crate::daemon::Unavailable;
use crate::http::HttpRequest;
use crate::settings::ShimSettings;
use crate::{daemon, input, output, response, spool};

/// How long the runtime may take to write the configuration.
const STDIN_TIMEOUT: Duration = Duration::from_secs(30);
/// The variables that belong to the call, in addition to `CNI_*`.
const TRACE_VARIABLES: [&str; 3] = ["TRACEPARENT", "TRACESTATE", "BAGGAGE"];
/// The largest sum of the names and values of the other variables, in bytes: far more than a
/// runtime has, and even if all of them have to be escaped, a small part of
/// [`wire::MAX_REQUEST`].
const MAX_ENVIRONMENT: usize = 128 << 10;
/// How many dropped variables a message names.
const MAX_NAMES: usize = 5;
const PATH: &str = "PATH";

/// A failed call.
pub struct Failure {
    /// The version of the error document (P-039): the configuration's, or the newest if unknown.
    pub version: Version,
    pub error: CniError,
}

/// The environment of this process, which plugins get (decision 30). Drops variables of the runtime
/// that are not UTF-8, because JSON cannot express them, or that exceed [`MAX_ENVIRONMENT`]. In the
/// variables of the call, invalid UTF-8 is replaced, and then fails the validation of the variable.
fn environment() -> BTreeMap<String, String> {
    let (mut variables, mut dropped) = (BTreeMap::new(), Vec::new());
    let mut free = MAX_ENVIRONMENT;
    let mut add = |key: OsString, value: OsString| {
        let name = key.to_string_lossy().into_owned();
        if belongs_to_call(&name) {
            variables.insert(name, value.to_string_lossy().into_owned());
            return;
        }
        let length = key.len().saturating_add(value.len());
        match (key.into_string(), value.into_string()) {
            (Ok(key), Ok(value)) if length <= free => {
                free -= length;
                variables.insert(key, value);
            }
            _ => dropped.push(name),
        }
    };
    // Plugins need PATH most.
    let (first, others): (Vec<_>, Vec<_>) = env::vars_os().partition(|(key, _)| key == PATH);
    for (key, value) in first.into_iter().chain(others) {
        add(key, value);
    }
    if !dropped.is_empty() {
        let names: Vec<_> = dropped
            .iter()
            .take(MAX_NAMES)
            .map(|name| quote(name).to_string())
            .collect();
        output::log(&format!(
            "{} variables of the environment do not reach plugins, because they are not UTF-8 or \
             exceed {MAX_ENVIRONMENT} bytes in total: {}",
            dropped.len(),
            names.join(", ")
        ));
    }
    variables
}

fn belongs_to_call(key: &str) -> bool {
    key.starts_with("CNI_") || TRACE_VARIABLES.contains(&key)
}

/// Runs the call. Returns the document to print, if any.
pub fn run() -> Result<Option<String>, Failure> {
    let env = environment();
    let stdin = input::read(STDIN_TIMEOUT).map_err(|error| {
        CniError::new(
            Code::Io,
            format!("the configuration on stdin cannot be read: {error}"),
        )
    });
    let config = stdin
        .as_deref()
        .map_err(Clone::clone)
        .and_then(CallConfig::parse);
    let version = config
        .as_ref()
        .ok()
        .and_then(|config| config.version().ok())
        .unwrap_or(Version::LATEST);
    output::report_panics(version);
    CniEnv::from_map(&env)
        .and_then(|call| {
            let request = wire::Request {
                env: env.clone(),
                config: stdin.clone().unwrap_or_default(),
                at: None,
            };
            forward(&call, &config?, &request)
        })
        .map_err(|error| {
            let is_del = env
                .get("CNI_COMMAND")
                .is_some_and(|command| command == Verb::Del.as_str());
            Failure {
                version,
                error: if is_del { error.for_del() } else { error },
            }
        })
}

/// Checks the call, and sends it to the daemon.
fn forward(
    call: &CniEnv,
    config: &CallConfig,
    request: &wire::Request,
) -> Result<Option<String>, CniError> {
    failpoint(call.verb);
    config.check(call.verb)?;
    refuse_own_netns(call)?;
    let settings = settings(call.verb, &config.object)?;
    let body = to_json(request)?;
    if body.len() > wire::MAX_REQUEST {
        let msg = format!(
            "the call is {} bytes long; the limit is {}",
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
    let http_request = HttpRequest::post_cni(&body);
    match daemon::call(&http_request, &settings.socket, call.verb, wait) {
        Ok(response) => response::document(&response, call.verb, config.version()?),
        Err(unavailable) if uninstalled && !unavailable.may_have_started() => {
            output::log("Plexus is uninstalled from this node and nothing is left to delete");
            Ok(None)
        }
        Err(unavailable) => handle_unavailable_daemon(call, &settings, request, &unavailable),
    }
}

/// Refuses the caller's own network namespace (P-012) before anything is changed (P-013).
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
    let msg = format!(
        "CNI_NETNS {} is the network namespace of the caller, not of a sandbox",
        quote(netns)
    );
    Err(CniError::new(Code::InvalidEnvironment, msg)
        .with_details("set CNI_NETNS_OVERRIDE=1 to allow this"))
}

/// The settings. For DEL, invalid settings are only logged: a DEL must not fail because of them.
fn settings(verb: Verb, config: &Object) -> Result<ShimSettings, CniError> {
    let (settings, errors) = ShimSettings::read(config);
    for error in errors {
        if verb != Verb::Del {
            return Err(error);
        }
        output::log(&format!("{error}; using the default"));
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

/// Spools a DEL. Returns an error for other verbs.
fn handle_unavailable_daemon(
    call: &CniEnv,
    settings: &ShimSettings,
    request: &wire::Request,
    unavailable: &Unavailable,
) -> Result<Option<String>, CniError> {
    let code = if call.verb == Verb::Status {
        Code::NotAvailable
    } else {
        Code::TryAgain
    };
    if call.verb != Verb::Del {
        return Err(CniError::new(code, unavailable.to_string()));
    }
    // Other variables may contain secrets, which must not be on the disk. The record has the PATH
    // of ADD.
    let mut env = BTreeMap::new();
    for (key, value) in request.env.iter().filter(|(key, _)| belongs_to_call(key)) {
        env.insert(key.clone(), value.clone());
    }
    let body = to_json(&wire::Request {
        at: spool::now(),
        env,
        config: request.config.clone(),
    })?;
    let path = spool::write(&settings.state_dir, &call.container_id, &call.ifname, &body).map_err(
        |error| {
            let dir = settings.state_dir.display();
            let msg = format!("{unavailable}; the DEL cannot be stored in {dir}: {error}");
            CniError::new(code, msg)
        },
    )?;
    let msg = format!(
        "{unavailable}; the DEL is stored in {} until plexusd starts",
        path.display()
    );
    if settings.spooled_is_success {
        output::log(&msg);
        return Ok(None);
    }
    Err(CniError::new(code, msg))
}

/// Panics if a test sets the variable (P-046), except in release builds.
#[cfg(debug_assertions)]
fn failpoint(verb: Verb) {
    assert!(
        env::var_os("PLEXUS_FAILPOINT").is_none(),
        "failpoint: {verb} not found"
    );
}
#[cfg(not(debug_assertions))]
fn failpoint(_: Verb) {}
