//! What a run means: the plugin's output, or an error with its code (R-046, P-043). Pure.

#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use plexus_api::cni::{CniError, Code, RawMap};
use plexus_api::json::{MAX_RESULT, check_limits};
use serde::Deserialize;

use super::exec::{Ended, Run};

/// The longest text of a plugin that goes into an error, in bytes: it ends up in an event of the pod.
const MAX_QUOTE: usize = 512;

/// The output of a run that succeeded, whatever it says on stderr. `limit` is the time that it had.
///
/// # Errors
/// The plugin's own, or [`Code::PluginFailed`] where it has no code, or [`Code::TryAgain`] where it was stopped. The
/// message does not name the plugin.
pub(super) fn output(run: Run, limit: Duration) -> Result<Vec<u8>, CniError> {
    match run.ended {
        Ended::Exited(status) if status.success() => Ok(run.stdout),
        Ended::Exited(status) => Err(failure(status, &run.stdout, &run.stderr)),
        Ended::TimedOut if limit.is_zero() => Err(CniError::new(
            Code::TryAgain,
            "was not started: the time for the call is over",
        )),
        Ended::TimedOut => Err(CniError::new(
            Code::TryAgain,
            format!("was killed: it took longer than {limit:.1?}"),
        )
        .with_details(quote_end(&run.stderr))),
        Ended::Cancelled => Err(CniError::new(
            Code::TryAgain,
            "was stopped: the call was cancelled",
        )
        .with_details(quote_end(&run.stderr))),
    }
}

/// The error of a program that could not be started.
///
/// The text of the operating system is not repeated where it says that there is no such file: a runtime takes that for
/// a DEL that has nothing left to do.
pub(super) fn not_started(error: &io::Error) -> CniError {
    let (code, why) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => (
            Code::PluginMissing,
            "its interpreter or loader is missing".to_owned(),
        ),
        Some(Errno::ENOEXEC) => (
            Code::PluginMissing,
            "it is no program for this machine".to_owned(),
        ),
        Some(Errno::EACCES | Errno::EPERM) => (
            Code::PluginMissing,
            format!("it may not be executed: {error}"),
        ),
        Some(Errno::ETXTBSY) => (
            Code::TryAgain,
            "it is being written to; is it being upgraded?".to_owned(),
        ),
        Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => {
            (Code::TryAgain, error.to_string())
        }
        _ => (Code::Io, error.to_string()),
    };
    CniError::new(code, format!("cannot be started: {why}"))
}

fn failure(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> CniError {
    if let Some(error) = own_error(stdout) {
        return error;
    }
    let how = describe(status);
    let failed = |msg: String| CniError::new(Code::PluginFailed, msg);
    match (stdout.trim_ascii(), stderr.trim_ascii()) {
        (b"", b"") => failed(format!("{how} and printed nothing")),
        (b"", stderr) => failed(format!("{how}: {}", quote_end(stderr))),
        (stdout, stderr) => failed(format!(
            "{how} and printed what is no CNI error: {:?}",
            quote_start(stdout)
        ))
        .with_details(quote_end(stderr)),
    }
}

/// The error object that the plugin printed, where it says anything.
fn own_error(stdout: &[u8]) -> Option<CniError> {
    check_limits(stdout, MAX_RESULT).ok()?;
    let object: RawMap = serde_json::from_slice(stdout).ok()?;
    let code: u32 = value(&object, "code").unwrap_or_default();
    let msg: String = value(&object, "msg").unwrap_or_default();
    let details: String = value(&object, "details").unwrap_or_default();
    if code == 0 && msg.trim().is_empty() {
        return None;
    }
    let text = if msg.trim().is_empty() {
        format!("failed with code {code}")
    } else {
        quote_start(msg.as_bytes())
    };
    let mut error =
        CniError::new(Code::PluginFailed, text).with_details(quote_start(details.as_bytes()));
    if code != 0 {
        error.code = code;
    }
    Some(error)
}

fn value<'a, T: Deserialize<'a>>(object: &'a RawMap, key: &str) -> Option<T> {
    serde_json::from_str(object.get(key)?.get()).ok()
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("failed with exit status {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(name) => format!("was killed by signal {signal} ({name})"),
            Err(_) => format!("was killed by signal {signal}"),
        },
        (None, None) => format!("failed with {status}"),
    }
}

/// The start of a text, as much as goes into an error.
pub(super) fn quote_start(text: &[u8]) -> String {
    let text = text.trim_ascii();
    let cut = String::from_utf8_lossy(&text[..text.len().min(MAX_QUOTE)]);
    if text.len() > MAX_QUOTE {
        format!("{cut}…")
    } else {
        cut.into_owned()
    }
}

/// The end of a text, as much as goes into an error.
fn quote_end(text: &[u8]) -> String {
    let text = text.trim_ascii();
    let cut = String::from_utf8_lossy(&text[text.len().saturating_sub(MAX_QUOTE)..]);
    if text.len() > MAX_QUOTE {
        format!("…{cut}")
    } else {
        cut.into_owned()
    }
}
