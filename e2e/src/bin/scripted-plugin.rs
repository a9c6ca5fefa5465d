//! A CNI plugin that follows the script beside it and logs its calls.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio, exit};
use std::thread;
use std::time::SystemTime;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, raise};
use plexus_e2e::{LogEntry, PluginCall, ScriptFile, Step, Stream};
use serde_json::{Value, json};

const HOLD: &str = "--hold";

fn main() {
    // Must be read before this process opens anything.
    let fds = open_files();
    if std::env::args().nth(1).as_deref() == Some(HOLD) {
        hang();
    }
    let program = std::env::current_exe().unwrap_or_else(|error| fail(&error));
    let file = fs::read(ScriptFile::path_beside(&program)).unwrap_or_else(|error| fail(&error));
    let file: ScriptFile = serde_json::from_slice(&file).unwrap_or_else(|error| fail(&error));
    let operation = std::env::var("CNI_COMMAND").unwrap_or_default();
    let steps = file.script.steps(&operation);

    let start = now();
    let mut stdin = Vec::new();
    if !steps.iter().any(|step| matches!(step, Step::IgnoreStdin)) {
        let _ = io::stdin().read_to_end(&mut stdin);
    }
    let config: Value = serde_json::from_slice(&stdin).unwrap_or_default();
    let device_info_file = config["runtimeConfig"]["CNIDeviceInfoFile"].as_str();
    let call = PluginCall {
        plugin: lossy(program.file_name().unwrap_or_default()),
        operation,
        env: std::env::vars_os()
            .map(|(key, value)| (lossy(&key), lossy(&value)))
            .collect(),
        stdin: String::from_utf8_lossy(&stdin).into_owned(),
        device_info: device_info_file.and_then(read_regular),
        start,
        end: None,
        pid: std::process::id(),
        netns: fs::metadata("/proc/self/ns/net").map_or(0, |meta| meta.ino()),
        fds,
        cwd: lossy(fs::read_link("/proc/self/cwd").unwrap_or_default().as_ref()),
        umask: process_status("Umask:"),
        cgroups: fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
        blocked_signals: process_status("SigBlk:"),
    };
    let mut plugin = Plugin {
        log: &file.log,
        call,
        printed: false,
    };
    plugin.append_to_log(&LogEntry::Start(Box::new(plugin.call.clone())));
    for step in steps {
        plugin.run_step(step);
    }
    if !plugin.printed {
        plugin.print(&plugin.default_output());
    }
    plugin.exit(0);
}

struct Plugin<'a> {
    log: &'a Path,
    call: PluginCall,
    printed: bool,
}

impl Plugin<'_> {
    fn run_step(&mut self, step: &Step) {
        match step {
            Step::Result(result) => self.print(&self.expand(result)),
            Step::Error(error) => {
                self.print(&self.expand(error));
                self.exit(1);
            }
            Step::Stdout(text) => self.print(text),
            Step::Stderr(text) => eprintln!("{text}"),
            Step::Exit(status) => self.exit(*status),
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
                #[expect(
                    clippy::zombie_processes,
                    reason = "the child keeps running after the plugin has exited"
                )]
                Command::new(program)
                    .arg(HOLD)
                    .stdin(Stdio::null())
                    .spawn()
                    .unwrap_or_else(|error| fail(&error));
            }
            Step::IgnoreStdin => {}
            Step::Run(command) => self.expect(run(command)),
            Step::Ip(arguments) => {
                let arguments = arguments.replace("$IFNAME", self.call.env("CNI_IFNAME"));
                let command: Vec<_> = ["ip"].into_iter().chain(arguments.split(' ')).collect();
                self.expect(self.in_netns(|| run(&command)));
            }
            Step::Unlink => {
                let command = ["ip", "link", "del", self.call.env("CNI_IFNAME")];
                if File::open(self.call.env("CNI_NETNS")).is_ok() {
                    let _ = self.in_netns(|| run(&command));
                }
            }
            Step::WriteDeviceInfo(text) => {
                let config = self.config();
                let path = config["runtimeConfig"]["CNIDeviceInfoFile"].as_str();
                let written = fs::write(path.unwrap_or_default(), text);
                self.expect(written.map_err(|error| format!("{path:?}: {error}")));
            }
            // Opening blocks until the test has opened the other end, reading until it is closed.
            Step::Gate(path) => {
                let mut pipe = File::open(path).unwrap_or_else(|error| fail(&error));
                let _ = io::copy(&mut pipe, &mut io::sink());
            }
        }
    }

    fn expect(&mut self, outcome: Result<(), String>) {
        if let Err(msg) = outcome {
            self.print(&json!({"code": 999, "msg": msg}).to_string());
            self.exit(1);
        }
    }

    /// Runs `job` in the sandbox on another thread. The plugin stays in the node's namespace.
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

    fn exit(&self, status: i32) -> ! {
        self.append_to_log(&LogEntry::End(self.call.pid, now()));
        exit(status)
    }

    fn append_to_log(&self, entry: &LogEntry) {
        let mut line = serde_json::to_vec(entry).unwrap_or_else(|error| fail(&error));
        line.push(b'\n');
        // A single write, so that lines of concurrent plugins are not interleaved.
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

    fn expand(&self, value: &Value) -> String {
        value
            .to_string()
            .replace("$CNIVERSION", &self.version())
            .replace("$IFNAME", self.call.env("CNI_IFNAME"))
            .replace("$NETNS", self.call.env("CNI_NETNS"))
            .replace("$CONTAINERID", self.call.env("CNI_CONTAINERID"))
    }

    fn default_output(&self) -> String {
        let version = self.version();
        match self.call.operation.as_str() {
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
                self.expand(&result)
            }
            _ => String::new(),
        }
    }
}

fn run<S: AsRef<OsStr> + Debug>(command: &[S]) -> Result<(), String> {
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

/// The content of a regular file. Opening a FIFO would block.
fn read_regular(path: &str) -> Option<String> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    fs::read_to_string(path).ok()
}

fn open_files() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return BTreeMap::new();
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    // The directory was open while it was read, and is closed now.
    let target = |name: &OsString| fs::read_link(Path::new("/proc/self/fd").join(name)).ok();
    names
        .iter()
        .filter_map(|name| Some((lossy(name), lossy(target(name)?.as_ref()))))
        .collect()
}

fn lossy(text: &OsStr) -> String {
    text.to_string_lossy().into_owned()
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
