//! An empty node, the shim, and a daemon with prepared responses.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use plexus_api::wire;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Directories for the socket and the state, and a configuration with these directories and no
/// waits.
pub struct Node {
    dir: TempDir,
}

impl Node {
    pub fn new() -> Self {
        Self {
            dir: TempDir::new().expect("temporary directory"),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn socket(&self) -> PathBuf {
        self.path(wire::SOCKET_NAME)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The configuration with `changes`; a null removes the key.
    pub fn config(&self, changes: Value) -> String {
        let mut config = json!({
            "cniVersion": "1.1.0", "name": "plexus", "type": "plexus",
            "daemonSocketDir": self.dir.path(), "stateDir": self.state(),
            "daemonWaitAdd": "0", "daemonWaitDel": "0", "daemonWaitStatus": "0",
        });
        let Value::Object(changes) = changes else {
            panic!("changes are an object")
        };
        for (key, value) in changes {
            config[&key] = value;
        }
        config
            .as_object_mut()
            .expect("object")
            .retain(|_, value| !value.is_null());
        config.to_string()
    }

    /// The shim with every variable that a runtime may set.
    pub fn shim(&self, verb: &str) -> ShimCommand {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plexus"));
        command.env_clear().env("CNI_COMMAND", verb);
        command
            .env("CNI_CONTAINERID", "box1")
            .env("CNI_NETNS", "/run/netns/box1")
            .env("CNI_IFNAME", "eth0");
        command
            .env("CNI_ARGS", "K8S_POD_NAME=p;K8S_POD_NAMESPACE=n")
            .env("CNI_PATH", "/opt/cni/bin");
        ShimCommand {
            command,
            stdin: self.config(json!({})).into_bytes(),
        }
    }

    /// A daemon that must not be called.
    pub fn unused_daemon(&self) -> UnusedDaemon {
        UnusedDaemon(UnixListener::bind(self.socket()).expect("bind"))
    }

    /// A daemon that sends one of these responses to each call, then stops.
    pub fn daemon(&self, responses: impl IntoIterator<Item = Vec<u8>>) -> Daemon {
        let listener = UnixListener::bind(self.socket()).expect("bind");
        let responses: Vec<_> = responses.into_iter().collect();
        let (sender, calls) = mpsc::channel();
        thread::spawn(move || {
            for response in responses {
                let (stream, _) = listener.accept().expect("accept");
                sender
                    .send(receive(&stream))
                    .expect("the test has not ended");
                // The shim may have timed out; that is for the test to check.
                let _ = (&stream).write_all(&response);
            }
        });
        Daemon { calls }
    }
}

pub struct UnusedDaemon(UnixListener);

impl UnusedDaemon {
    pub fn assert_unused(&self) {
        self.0.set_nonblocking(true).expect("nonblocking");
        let error = self.0.accept().expect_err("the daemon was called");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

pub struct Daemon {
    calls: Receiver<ReceivedRequest>,
}

impl Daemon {
    /// The requests received since this was last called.
    pub fn calls(&self) -> Vec<ReceivedRequest> {
        self.calls.try_iter().collect()
    }

    pub fn only_call(&self) -> ReceivedRequest {
        let mut calls = self.calls();
        assert_eq!(calls.len(), 1, "{calls:?}");
        calls.remove(0)
    }
}

/// A request, as received from the socket.
#[derive(Debug)]
pub struct ReceivedRequest {
    /// The lines of the head: the request line and the headers.
    pub head: Vec<String>,
    pub body: Vec<u8>,
}

impl ReceivedRequest {
    pub fn request(&self) -> wire::Request {
        serde_json::from_slice(&self.body).expect("request")
    }
}

/// Reads one request.
pub fn receive(stream: &UnixStream) -> ReceivedRequest {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("header");
        let line = line.strip_suffix("\r\n").expect("CRLF");
        if line.is_empty() {
            break;
        }
        head.push(line.to_owned());
    }
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .expect("Content-Length");
    let mut body = vec![0; length.parse().expect("length")];
    reader.read_exact(&mut body).expect("body");
    ReceivedRequest { head, body }
}

/// An HTTP response with a content length.
pub fn response(status: u16, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let head = format!(
        "HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The response to a successful ADD.
pub fn add_response() -> Vec<u8> {
    response(
        200,
        json!({"Result": {"cniVersion": "1.1.0", "interfaces": [{"name": "eth0"}]}}).to_string(),
    )
}

/// No response: the daemon closes the connection.
pub fn no_response() -> Vec<u8> {
    Vec::new()
}

pub struct ShimCommand {
    command: Command,
    stdin: Vec<u8>,
}

impl ShimCommand {
    pub fn env(mut self, key: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    pub fn envs(mut self, variables: &BTreeMap<&str, &str>) -> Self {
        self.command.env_clear().envs(variables);
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    pub fn arg(mut self, arg: &str) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn stdin(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }

    /// Starts the shim with pipes for all streams.
    pub fn spawn(&mut self) -> Child {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("spawn")
    }

    /// Runs the shim with the configuration on stdin.
    pub fn run(mut self) -> Finished {
        let mut child = self.spawn();
        feed(&mut child, &self.stdin);
        Finished::from(child.wait_with_output().expect("output"))
    }

    /// Starts the shim with the configuration on stdin.
    pub fn start(mut self) -> Child {
        let mut child = self.spawn();
        feed(&mut child, &self.stdin);
        child
    }

    /// Runs the shim with another stdin.
    pub fn run_with(mut self, stdin: Stdio) -> Finished {
        Finished::from(self.command.stdin(stdin).output().expect("output"))
    }
}

fn feed(child: &mut Child, bytes: &[u8]) {
    // The shim may exit before reading all of stdin.
    let _ = child.stdin.take().expect("stdin").write_all(bytes);
}

/// The outcome of a call.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<std::process::Output> for Finished {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

impl Finished {
    /// The document on stdout. The call must have succeeded.
    pub fn result(&self) -> Value {
        assert_eq!(self.code, Some(0), "{self:?}");
        serde_json::from_str(&self.stdout).expect("one JSON document")
    }

    /// Asserts a success without output.
    pub fn assert_silent(&self) {
        assert_eq!((self.code, self.stdout.as_str()), (Some(0), ""), "{self:?}");
    }

    /// The error object on stdout. The call must have failed, and the object must be valid: one
    /// document, known keys, a message of one line that ends with the code. The returned message
    /// does not have the code.
    pub fn error(&self) -> ErrorObject {
        assert_eq!(self.code, Some(1), "{self:?}");
        let object: Value = serde_json::from_str(&self.stdout).expect("one JSON document");
        let map = object.as_object().expect("object");
        assert!(
            map.keys()
                .all(|key| ["cniVersion", "code", "details", "msg"].contains(&key.as_str())),
            "{object}"
        );
        let text = |key: &str| {
            map.get(key)
                .map(|value| value.as_str().expect("text").to_owned())
        };
        let code = map["code"].as_u64().expect("code");
        let msg = text("msg").expect("msg");
        let msg = msg.strip_suffix(&format!(" (code {code})"));
        let error = ErrorObject {
            version: text("cniVersion").expect("cniVersion"),
            code,
            msg: msg.unwrap_or_else(|| panic!("{object}")).to_owned(),
            details: text("details").unwrap_or_default(),
        };
        assert!(
            !error.msg.trim().is_empty() && !error.msg.contains('\n'),
            "{object}"
        );
        assert!(
            text("details").is_none_or(|details| !details.is_empty()),
            "{object}"
        );
        error
    }
}

#[derive(Debug)]
pub struct ErrorObject {
    pub version: String,
    pub code: u64,
    pub msg: String,
    pub details: String,
}
