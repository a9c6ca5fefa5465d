//! `plexusd` on a node.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use plexus_api::wire;
use serde_json::Value;

use crate::binaries::binary;
use crate::{Node, Reply, http, mounts};

/// How long it may take to become ready, or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running daemon. It is killed when this is dropped; when a test fails, its log is shown.
#[derive(Debug)]
pub struct Daemon<'n> {
    node: &'n Node,
    config: PathBuf,
    /// The arguments that name its source of pods and definitions.
    source: Vec<OsString>,
    env: Vec<(&'static str, String)>,
    socket: PathBuf,
    log: PathBuf,
    /// What it does not see of its node.
    hidden: Vec<PathBuf>,
    /// Where it sees the whole of its node once more.
    root: Option<PathBuf>,
    /// Whether it is in a PID namespace of its own.
    own_pids: bool,
    child: Option<Child>,
}

impl<'n> Daemon<'n> {
    /// Starts `plexusd` with `config` and `manifests`, and waits until it is ready.
    pub fn start(node: &'n Node, config: &Value, manifests: &Path) -> Self {
        let mut daemon = Self::new(node, config, manifests);
        daemon.restart();
        daemon
    }

    /// The same, not started yet.
    pub fn new(node: &'n Node, config: &Value, manifests: &Path) -> Self {
        Self::with_source(node, config, vec!["--manifests".into(), manifests.into()])
    }

    /// One that serves the pods that the cluster of `kubeconfig` has on the node `name`, not started yet.
    pub fn of_cluster(node: &'n Node, config: &Value, kubeconfig: &Path, name: &str) -> Self {
        let source = vec![
            "--kubeconfig".into(),
            kubeconfig.into(),
            "--node-name".into(),
            name.into(),
        ];
        Self::with_source(node, config, source)
    }

    /// One that finds its cluster by its environment and the files of a service account, not started yet.
    pub fn in_cluster(
        node: &'n Node,
        config: &Value,
        env: impl IntoIterator<Item = (&'static str, String)>,
    ) -> Self {
        let mut daemon = Self::with_source(node, config, Vec::new());
        daemon.env.extend(env);
        daemon
    }

    fn with_source(node: &'n Node, config: &Value, source: Vec<OsString>) -> Self {
        let dir = config["daemonSocketDir"]
            .as_str()
            .unwrap_or(wire::SOCKET_DIR);
        let daemon = Self {
            node,
            config: node.scratch().join("daemon-config.json"),
            source,
            env: Vec::new(),
            socket: Path::new(dir).join(wire::SOCKET_NAME),
            log: node.scratch().join("plexusd.log"),
            hidden: Vec::new(),
            root: None,
            own_pids: false,
            child: None,
        };
        daemon.configure(config);
        daemon
    }

    /// The same in a container: in a mount namespace of its own, where `hidden` are empty.
    #[must_use]
    pub fn hiding(mut self, hidden: impl IntoIterator<Item = PathBuf>) -> Self {
        self.hidden.extend(hidden);
        self
    }

    /// The same in a PID namespace of its own: it sees no process of the node.
    #[must_use]
    pub fn with_own_pids(mut self) -> Self {
        self.own_pids = true;
        self
    }

    /// The same with the node's root mounted at the directory `root`, as it is when the daemon starts.
    #[must_use]
    pub fn with_root_at(mut self, root: PathBuf) -> Self {
        self.root = Some(root);
        self
    }

    /// Gives it another configuration, which counts from the next start on.
    pub fn configure(&self, config: &Value) {
        fs::write(&self.config, config.to_string()).expect("the configuration can be written");
    }

    /// Starts it, after stopping it where it runs, and waits until it is ready.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
        self.wait_ready();
    }

    /// Starts it without waiting.
    pub fn launch(&mut self) {
        self.launch_to("serve");
    }

    /// Starts another of its commands that runs until it is stopped, `uninstall`.
    pub fn launch_to(&mut self, subcommand: &str) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the log can be opened");
        let mut command = Command::new(binary("plexusd"));
        command
            .arg(subcommand)
            .arg("--config")
            .arg(&self.config)
            .args(&self.source)
            .envs(self.env.iter().cloned());
        // Nothing is printed to stdout: its end tells that the daemon has ended.
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let (hidden, root) = (&self.hidden, self.root.as_deref());
        let own_pids = self.own_pids;
        let start = || {
            if own_pids {
                // For what this thread spawns.
                unshare(CloneFlags::CLONE_NEWPID)?;
            }
            if !hidden.is_empty() || root.is_some() {
                mounts::contain(hidden, root)?;
            }
            command.spawn()
        };
        self.child = Some(self.node.run(start).expect("plexusd can be started"));
    }

    /// Waits until `/readyz` says so. Panics with the log if the daemon ends or does not become ready.
    pub fn wait_ready(&mut self) {
        let end = Instant::now() + PATIENCE;
        loop {
            let outcome = self.get("/readyz");
            if outcome.as_ref().is_ok_and(|reply| reply.status == 200) {
                return;
            }
            // Neither a socket that is about to listen nor readiness sends an event; the daemon's end does.
            if self.has_ended_within(Duration::from_millis(5)) {
                let status = self.reap();
                panic!(
                    "plexusd ended before it was ready: {status}\n{}",
                    self.log()
                );
            }
            assert!(
                Instant::now() < end,
                "plexusd is not ready: {outcome:?}\n{}",
                self.log()
            );
        }
    }

    /// Stops it with SIGTERM and waits for its end; nothing happens where it does not run.
    pub fn stop(&mut self) {
        if self.child.is_none() {
            return;
        }
        self.signal(Signal::SIGTERM);
        assert!(
            self.has_ended_within(PATIENCE),
            "plexusd does not stop\n{}",
            self.log()
        );
        self.reap();
    }

    /// Tells it to stop, and does not wait.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Kills it with SIGKILL and waits for its end.
    pub fn kill9(&mut self) {
        self.signal(Signal::SIGKILL);
        self.reap();
    }

    /// Waits for its end, which something else has caused.
    pub fn wait_end(&mut self) -> ExitStatus {
        assert!(
            self.has_ended_within(PATIENCE),
            "plexusd does not end\n{}",
            self.log()
        );
        self.reap()
    }

    /// Its process ID. Panics where it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("plexusd runs").id()
    }

    /// Its socket, a path on the node.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What it has logged, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until its log has `text`. Panics with the log if that takes too long.
    pub fn wait_log(&self, text: &str) {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).expect("inotify");
        watch
            .add_watch(&self.log, AddWatchFlags::IN_MODIFY)
            .expect("the log can be watched");
        let end = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "the log should have {text:?}\n{}",
                self.log()
            );
            let timeout = PollTimeout::try_from(left).expect("it is short");
            poll(
                &mut [PollFd::new(watch.as_fd(), PollFlags::POLLIN)],
                timeout,
            )
            .expect("poll");
            let _ = watch.read_events();
        }
    }

    /// Runs `plexusd ledger` with these arguments on its node: what it printed, or what it complained of.
    ///
    /// # Errors
    /// The text of its stderr.
    pub fn ledger(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(binary("plexusd"));
        let output = self
            .node
            .run(|| command.arg("ledger").args(arguments).output())
            .expect("plexusd can be executed");
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(text(&output.stderr))
        }
    }

    /// `POST path` on its socket.
    pub fn post(&self, path: &str, body: &[u8]) -> io::Result<Reply> {
        self.exchange(&http::request("POST", path, body))
    }

    /// `GET path` on its socket.
    pub fn get(&self, path: &str) -> io::Result<Reply> {
        self.exchange(&http::request("GET", path, b""))
    }

    /// `PUT path` on its socket.
    pub fn put(&self, path: &str, body: &[u8]) -> io::Result<Reply> {
        self.exchange(&http::request("PUT", path, body))
    }

    /// `GET path` over TCP, from the node that it runs on.
    pub fn get_tcp(&self, address: SocketAddr, path: &str) -> io::Result<Reply> {
        self.node
            .run(|| http::exchange_tcp(address, &http::request("GET", path, b"")))
    }

    /// Sends these bytes to its socket and reads an HTTP answer.
    pub fn exchange(&self, request: &[u8]) -> io::Result<Reply> {
        self.node.run(|| http::exchange(&self.socket, request))
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process ID is an i32");
        kill(Pid::from_raw(pid), signal).expect("a child that was not waited for can be signalled");
    }

    fn has_ended_within(&self, time: Duration) -> bool {
        let Some(stdout) = self.child.as_ref().and_then(|child| child.stdout.as_ref()) else {
            return true;
        };
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let timeout = PollTimeout::try_from(time).expect("it is short");
        poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
    }

    fn reap(&mut self) -> ExitStatus {
        self.child
            .take()
            .expect("plexusd runs")
            .wait()
            .expect("a child can be waited for")
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- plexusd's log ---\n{}---", self.log());
        }
    }
}
