//! Converts the outcome of a plugin run to the output or to an error with a CNI code (R-046,
//! P-043). Pure.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use plexus_api::cni::{CniError, Code};
use plexus_api::json::{Object, check_result};
use serde::de::DeserializeOwned;

use super::exec::{MAX_STDERR, RunOutput, Termination};

/// The maximum length of plugin output in an error, in bytes. Pod events quote the error.
const MAX_QUOTE: usize = 512;
/// How many lines of stderr are logged.
const MAX_LINES: usize = 20;
const UNKNOWN_CONTAINER: u32 = Code::UnknownContainer as u32;

/// The reason why a plugin produced no result. The errors do not name the plugin.
#[derive(Debug)]
pub(super) enum PluginError {
    /// The plugin could not be started, so there is nothing to undo.
    NotStarted(CniError),
    /// The plugin reported code 3: the runtime need not clean up (P-041).
    UnknownContainer(CniError),
    /// The plugin was killed before it reported anything: at its time limit, with its call, or by
    /// the kernel or another process.
    Killed(CniError),
    /// The plugin failed or printed an invalid result.
    Failed(CniError),
}

impl From<PluginError> for CniError {
    fn from(error: PluginError) -> Self {
        match error {
            PluginError::NotStarted(error)
            | PluginError::UnknownContainer(error)
            | PluginError::Killed(error)
            | PluginError::Failed(error) => error,
        }
    }
}

/// The stdout of a successful run, whatever its stderr. `limit` is the time limit of the
/// run.
pub(super) fn output(run: RunOutput, limit: Duration) -> Result<Vec<u8>, PluginError> {
    let try_again = |msg: String| {
        let error = CniError::new(Code::TryAgain, msg).with_details(quote_end(&run.stderr));
        Err(PluginError::Killed(error))
    };
    match run.termination {
        Termination::Exited(status) if status.success() => Ok(run.stdout),
        Termination::Exited(status) => Err(failure(status, &run.stdout, &run.stderr)),
        Termination::Unknown => try_again(
            "its exit status is unknown: the process of plexusd that starts plugins was killed"
                .to_owned(),
        ),
        Termination::TimedOut if limit.is_zero() => {
            try_again("was not started: the deadline of the call has passed".to_owned())
        }
        Termination::TimedOut => try_again(format!("was killed: it took longer than {limit:.1?}")),
        Termination::Cancelled => try_again("was stopped: the call was cancelled".to_owned()),
    }
}

/// The error of a program that could not be started.
///
/// Does not quote "no such file or directory": runtimes treat a DEL error with that text as
/// success.
pub(super) fn not_started(error: &io::Error) -> PluginError {
    let (code, reason) = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) => (
            Code::PluginMissing,
            "its interpreter or loader is missing".to_owned(),
        ),
        Some(Errno::ENOEXEC) => (
            Code::PluginMissing,
            "the file is not a program for this machine".to_owned(),
        ),
        Some(Errno::EACCES | Errno::EPERM) => (
            Code::PluginMissing,
            format!("the file is not executable: {error}"),
        ),
        Some(Errno::ETXTBSY) => (
            Code::TryAgain,
            "the file is open for writing, as during an upgrade".to_owned(),
        ),
        Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => {
            (Code::TryAgain, error.to_string())
        }
        _ => (Code::Io, error.to_string()),
    };
    PluginError::NotStarted(CniError::new(code, format!("cannot be started: {reason}")))
}

fn failure(status: ExitStatus, stdout: &[u8], stderr: &[u8]) -> PluginError {
    if let Some(error) = reported_error(stdout) {
        return error;
    }
    let outcome = describe(status);
    let failed = |msg: String| CniError::new(Code::PluginFailed, msg);
    let is_killed = status.signal() == Some(Signal::SIGKILL as i32);
    let kind = if is_killed {
        PluginError::Killed
    } else {
        PluginError::Failed
    };
    kind(match (stdout.trim_ascii(), stderr.trim_ascii()) {
        (b"", b"") => failed(format!("{outcome} and printed nothing")),
        (b"", stderr) => failed(format!("{outcome}: {}", quote_end(stderr))),
        (stdout, stderr) => failed(format!(
            "{outcome} and its output is not a CNI error: {:?}",
            quote_start(stdout)
        ))
        .with_details(quote_end(stderr)),
    })
}

/// The CNI error that the plugin printed. Returns `None` if the output is not a CNI error or has
/// neither code nor message.
fn reported_error(stdout: &[u8]) -> Option<PluginError> {
    check_result(stdout).ok()?;
    let object = Object::parse(stdout).ok()?;
    let code: u32 = field(&object, "code").unwrap_or_default();
    let msg: String = field(&object, "msg").unwrap_or_default();
    let details: String = field(&object, "details").unwrap_or_default();
    let text = match (code, msg.trim()) {
        (0, "") => return None,
        (_, "") => format!("failed with code {code}"),
        (_, msg) => quote_start(msg.as_bytes()),
    };
    let error =
        CniError::new(Code::PluginFailed, text).with_details(quote_start(details.as_bytes()));
    Some(match code {
        0 => PluginError::Failed(error),
        UNKNOWN_CONTAINER => PluginError::UnknownContainer(CniError { code, ..error }),
        _ => PluginError::Failed(CniError { code, ..error }),
    })
}

fn field<T: DeserializeOwned>(object: &Object, key: &str) -> Option<T> {
    object.get(key).ok().flatten()
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

/// The last lines of stderr for the log, and whether the plugin printed more than that.
pub(super) fn last_lines(stderr: &[u8]) -> (Vec<String>, bool) {
    let end = &stderr[stderr.len().saturating_sub(MAX_STDERR)..];
    let lines = end.split(|byte| *byte == b'\n');
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(MAX_LINES)..];
    let is_cut = end.len() < stderr.len() || last.len() < lines.len();
    let texts = last.iter().map(|line| String::from_utf8_lossy(line));
    (texts.map(Cow::into_owned).collect(), is_cut)
}

/// The start of a text, shortened for an error.
pub(super) fn quote_start(text: &[u8]) -> String {
    let text = text.trim_ascii();
    let quote = String::from_utf8_lossy(&text[..text.len().min(MAX_QUOTE)]);
    if text.len() > MAX_QUOTE {
        format!("{quote}…")
    } else {
        quote.into_owned()
    }
}

/// The end of a text, shortened for an error.
fn quote_end(text: &[u8]) -> String {
    let text = text.trim_ascii();
    let quote = String::from_utf8_lossy(&text[text.len().saturating_sub(MAX_QUOTE)..]);
    if text.len() > MAX_QUOTE {
        format!("…{quote}")
    } else {
        quote.into_owned()
    }
}
