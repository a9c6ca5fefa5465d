//! What an executed plugin answered.

use std::process::Output;

use serde_json::Value;

/// The end of one execution of the shim, or of a plugin in its place.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its exit status; none where a signal ended it.
    pub exit: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
    /// Its stdout as one JSON document, where it is one.
    pub json: Option<Value>,
}

impl Answer {
    /// Whether it exited with 0.
    pub fn ok(&self) -> bool {
        self.exit == Some(0)
    }

    /// The code of the error object; none where there is none.
    pub fn code(&self) -> Option<u64> {
        self.json.as_ref()?.get("code")?.as_u64()
    }

    /// The message of the error object; empty where there is none.
    pub fn msg(&self) -> &str {
        self.json
            .as_ref()
            .and_then(|json| json.get("msg")?.as_str())
            .unwrap_or_default()
    }

    /// The result of a successful ADD. Panics with what came instead.
    #[track_caller]
    pub fn result(&self) -> &Value {
        assert!(self.ok(), "it failed: {self:?}");
        self.json
            .as_ref()
            .unwrap_or_else(|| panic!("it printed no JSON: {self:?}"))
    }

    /// The answer to a successful call that prints nothing. Panics with what came instead.
    #[track_caller]
    pub fn expect_silence(&self) {
        assert!(
            self.ok() && self.stdout.is_empty(),
            "it should have succeeded without output: {self:?}"
        );
    }

    /// A failure: exit status not 0, one error object on stdout with this code. Panics with what came instead.
    #[track_caller]
    pub fn expect_code(&self, code: u64) -> &str {
        assert!(
            self.exit.is_some_and(|exit| exit != 0),
            "it should have failed: {self:?}"
        );
        assert_eq!(self.code(), Some(code), "{self:?}");
        self.msg()
    }

    /// The same with a message that has all of `parts`.
    #[track_caller]
    pub fn expect_error(&self, code: u64, parts: &[&str]) {
        let msg = self.expect_code(code);
        for part in parts {
            assert!(msg.contains(part), "{part} in: {self:?}");
        }
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            exit: output.status.code(),
            json: serde_json::from_slice(&output.stdout).ok(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
