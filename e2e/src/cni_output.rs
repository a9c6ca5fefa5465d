//! The outcome of one execution of the shim or of a plugin.

use std::process::Output;

use serde_json::Value;

/// Exit status and output of one execution.
#[derive(Debug, Clone)]
pub struct CniOutput {
    /// `None` if a signal ended the process.
    pub exit: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    /// The whole of stdout as JSON, if it is a JSON document.
    pub json: Option<Value>,
}

impl CniOutput {
    pub fn ok(&self) -> bool {
        self.exit == Some(0)
    }

    /// The code of the error object, if there is one.
    pub fn code(&self) -> Option<u64> {
        self.json.as_ref()?.get("code")?.as_u64()
    }

    /// The message of the error object, or an empty string.
    pub fn msg(&self) -> &str {
        self.json
            .as_ref()
            .and_then(|json| json.get("msg")?.as_str())
            .unwrap_or_default()
    }

    /// The result of a successful ADD. Panics if the call failed or printed no JSON.
    #[track_caller]
    pub fn result(&self) -> &Value {
        assert!(self.ok(), "the call failed: {self:?}");
        self.json
            .as_ref()
            .unwrap_or_else(|| panic!("no JSON on stdout: {self:?}"))
    }

    /// Panics unless the call succeeded and printed nothing.
    #[track_caller]
    pub fn expect_success(&self) {
        assert!(
            self.ok() && self.stdout.is_empty(),
            "expected success without output: {self:?}"
        );
    }

    /// Panics unless the call failed with this code. Returns the message of the error object.
    #[track_caller]
    pub fn expect_code(&self, code: u64) -> &str {
        assert!(
            self.exit.is_some_and(|exit| exit != 0),
            "expected a failure: {self:?}"
        );
        assert_eq!(self.code(), Some(code), "{self:?}");
        self.msg()
    }

    /// Panics unless the call failed with this code and a message that contains all of `parts`.
    #[track_caller]
    pub fn expect_error(&self, code: u64, parts: &[&str]) {
        let msg = self.expect_code(code);
        for part in parts {
            assert!(msg.contains(part), "{part} in: {self:?}");
        }
    }
}

impl From<Output> for CniOutput {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code(),
            json: serde_json::from_slice(&output.stdout).ok(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
