//! A CNI plugin that does what the script beside it says, and writes down what it was asked.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio, exit};
use std::thread;
use std::time::SystemTime;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, raise};
use plexus_e2e::{Call, Entry, ScriptFile, Step, Stream};
use serde_json::{Value, json};

const HOLD: &str = "--hold";

fn main() {
    // First of all, while nothing of our own is open.
    let fds = open_files();
    if std::env::args().nth(1).as_deref() == Some(HOLD) {
        hang();
    }
    let program = std::env::current_exe().unwrap_or_else(|error| fail(&error));
    let file = fs::read(ScriptFile::path_beside(&program)).unwrap_or_else(|error| fail(&error));
    let file: ScriptFile = serde_json::from_slice(&file).unwrap_or_else(|error| fail(&error));
    let verb = std::env::var("CNI_COMMAND").unwrap_or_default();
    let steps = file.script.steps(&verb);

    let start = now();
    let mut stdin = Vec::new();
    if !steps.iter().any(|step| matches!(step, Step::IgnoreStdin)) {
        let _ = io::stdin().read_to_end(&mut stdin);
    }
    let call = Call {
        plugin: program
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        verb,
        env: std::env::vars_os()
            .map(|(k, v)| (k.to_string_lossy().into(), v.to_string_lossy().into()))
            .collect(),
        stdin: String::from_utf8_lossy(&stdin).into_owned(),
        start,
        end: None,
        pid: std::process::id(),
        netns: fs::metadata("/proc/self/ns/net").map_or(0, |meta| meta.ino()),
        fds,
        cwd: fs::read_link("/proc/self/cwd")
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        umask: process_status("Umask:"),
        blocked_signals: process_status("SigBlk:"),
    };
    let mut plugin = Plugin {
        log: &file.log,
        call,
        printed: false,
    };
    plugin.note(&Entry::Start(Box::new(plugin.call.clone())));
    for step in steps {
        plugin.take(step);
    }
    if !plugin.printed {
        plugin.print(&plugin.plain_answer());
    }
    plugin.end(0);
}

struct Plugin<'a> {
    log: &'a Path,
    call: Call,
    printed: bool,
}

impl Plugin<'_> {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Result(result) => self.print(&self.filled(result)),
            Step::Error(error) => {
                self.print(&self.filled(error));
                self.end(1);
            }
            Step::Stdout(text) => self.print(text),
            Step::Stderr(text) => eprintln!("{text}"),
            Step::Exit(status) => self.end(*status),
            Step::Signal(number) => {
                let signal = Signal::try_from(*number).unwrap_or(Signal::SIGKILL);
                let _ = raise(signal);
            }
            Step::Hang => hang(),
            Step::Flood(stream, bytes) => {
                self.printed |= matches!(stream, Stream::Stdout);
                flood(*stream, *bytes);
            }
            Step::HoldOutput => {
                let program = std::env::current_exe().unwrap_or_else(|error| fail(&error));
                #[expect(clippy::zombie_processes, reason = "it is meant to outlive the plugin")]
                Command::new(program)
                    .arg(HOLD)
                    .stdin(Stdio::null())
                    .spawn()
                    .unwrap_or_else(|error| fail(&error));
            }
            Step::IgnoreStdin => {}
            Step::Run(command) => self.expect(run(command)),
            Step::Link(kind) => {
                let command = [
                    "ip",
                    "link",
                    "add",
                    self.call.env("CNI_IFNAME"),
                    "type",
                    kind,
                ]
                .map(str::to_owned);
                self.expect(self.in_netns(|| run(&command)));
            }
            Step::Unlink => {
                let command = ["ip", "link", "del", self.call.env("CNI_IFNAME")].map(str::to_owned);
                if File::open(self.call.env("CNI_NETNS")).is_ok() {
                    let _ = self.in_netns(|| run(&command));
                }
            }
            // Opening waits until the test has come, reading until it has left.
            Step::Gate(path) => {
                let mut pipe = File::open(path).unwrap_or_else(|error| fail(&error));
                let _ = io::copy(&mut pipe, &mut io::sink());
            }
        }
    }

    fn expect(&mut self, outcome: Result<(), String>) {
        if let Err(msg) = outcome {
            self.print(&json!({"code": 999, "msg": msg}).to_string());
            self.end(1);
        }
    }

    /// Runs `job` in the sandbox, on a thread of its own: the plugin stays in the node's namespace.
    fn in_netns<T: Send>(&self, job: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(self.call.env("CNI_NETNS")).unwrap_or_else(|error| fail(&error));
        let in_thread = || {
            setns(namespace, CloneFlags::CLONE_NEWNET).unwrap_or_else(|error| fail(&error));
            job()
        };
        thread::scope(|scope| scope.spawn(in_thread).join())
            .unwrap_or_else(|_| fail(&"a thread panicked"))
    }

    fn print(&mut self, text: &str) {
        self.printed = true;
        let _ = io::stdout().write_all(text.as_bytes());
        let _ = io::stdout().flush();
    }

    fn end(&self, status: i32) -> ! {
        self.note(&Entry::End(self.call.pid, now()));
        exit(status)
    }

    fn note(&self, entry: &Entry) {
        let mut line = serde_json::to_vec(entry).unwrap_or_else(|error| fail(&error));
        line.push(b'\n');
        // One write each: lines of plugins that run at the same time do not mix.
        let log = OpenOptions::new().create(true).append(true).open(self.log);
        log.and_then(|mut log| log.write_all(&line))
            .unwrap_or_else(|error| fail(&error));
    }

    fn config(&self) -> Value {
        serde_json::from_str(&self.call.stdin).unwrap_or_default()
    }

    fn version(&self) -> String {
        self.config()["cniVersion"]
            .as_str()
            .unwrap_or("0.1.0")
            .to_owned()
    }

    fn filled(&self, value: &Value) -> String {
        let text = value.to_string().replace("$CNIVERSION", &self.version());
        let text = text
            .replace("$IFNAME", self.call.env("CNI_IFNAME"))
            .replace("$NETNS", self.call.env("CNI_NETNS"));
        text.replace("$CONTAINERID", self.call.env("CNI_CONTAINERID"))
    }

    fn plain_answer(&self) -> String {
        let version = self.version();
        match self.call.verb.as_str() {
            "VERSION" => {
                let versions = [
                    "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0",
                ];
                json!({"cniVersion": version, "supportedVersions": versions}).to_string()
            }
            "ADD" => {
                if let Some(previous) = self.config().get("prevResult") {
                    return previous.to_string();
                }
                let mut result = match version.as_str() {
                    "0.1.0" | "0.2.0" => json!({"ip4": {"ip": "10.1.2.3/24"}}),
                    _ => json!({
                        "interfaces": [{"name": "$IFNAME", "sandbox": "$NETNS"}],
                        "ips": [{"address": "10.1.2.3/24", "interface": 0}],
                    }),
                };
                if version.starts_with("0.3") || version.starts_with("0.4") {
                    result["ips"][0]["version"] = "4".into();
                }
                result["cniVersion"] = version.into();
                self.filled(&result)
            }
            _ => String::new(),
        }
    }
}

fn run(command: &[String]) -> Result<(), String> {
    let output = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{command:?}: {}: {stderr}", output.status))
    }
}

fn open_files() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return BTreeMap::new();
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    // The listing itself was open while it was read, and is closed now.
    let target =
        |name: &std::ffi::OsString| fs::read_link(Path::new("/proc/self/fd").join(name)).ok();
    let named = names.iter().filter_map(|name| Some((name, target(name)?)));
    named
        .map(|(name, target)| {
            (
                name.to_string_lossy().into(),
                target.to_string_lossy().into(),
            )
        })
        .collect()
}

fn process_status(key: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn flood(stream: Stream, bytes: u64) {
    let blanks = vec![b' '; 64 << 10];
    let mut output: Box<dyn io::Write> = match stream {
        Stream::Stdout => Box::new(io::stdout()),
        Stream::Stderr => Box::new(io::stderr()),
    };
    let mut left = usize::try_from(bytes).unwrap_or(usize::MAX);
    while left > 0 {
        let part = left.min(blanks.len());
        if output.write_all(&blanks[..part]).is_err() {
            return;
        }
        left -= part;
    }
}

fn hang() -> ! {
    loop {
        thread::park();
    }
}

fn now() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}

fn fail(error: &dyn std::fmt::Display) -> ! {
    eprintln!("scripted plugin: {error}");
    exit(70)
}
