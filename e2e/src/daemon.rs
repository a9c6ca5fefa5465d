//! `plexusd` on a node.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
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
use crate::{CniOutput, Node, Reply, http, mounts};

/// How long the daemon may take to start, to stop, or to log something. In user-mode Linux, programs
/// start slowly.
const TIMEOUT: Duration = Duration::from_mins(1);

/// Where a daemon reads pods and definitions from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A directory of manifests.
    Manifests(PathBuf),
    /// The API server of a kubeconfig.
    Kubeconfig { path: PathBuf, node_name: String },
    /// The API server that these environment variables and the files of a service account name.
    Environment(Vec<(&'static str, String)>),
}

/// The isolation of a daemon from its node, as a container has it. Nothing is isolated by default.
#[derive(Debug, Clone, Default)]
pub struct Container {
    /// Directories of the node that are empty for the daemon.
    pub hidden: Vec<PathBuf>,
    /// A directory at which the daemon has the root of the node mounted.
    pub root: Option<PathBuf>,
    /// Whether the daemon has a PID namespace of its own.
    pub own_pids: bool,
}

/// A daemon. Dropping this kills it. If the test fails, the log is printed.
#[derive(Debug)]
pub struct Daemon<'n> {
    node: &'n Node,
    config: PathBuf,
    source: Source,
    container: Container,
    socket: PathBuf,
    log: PathBuf,
    /// The generation of the DaemonSet.
    generation: Option<u32>,
    child: Option<Child>,
}

impl<'n> Daemon<'n> {
    /// A daemon that is not running yet.
    pub fn new(node: &'n Node, config: &Value, source: Source, container: Container) -> Self {
        let dir = config["daemonSocketDir"]
            .as_str()
            .unwrap_or(wire::SOCKET_DIR);
        let daemon = Self {
            node,
            config: node.scratch().join("daemon-config.json"),
            source,
            container,
            socket: Path::new(dir).join(wire::SOCKET_NAME),
            log: node.scratch().join("plexusd.log"),
            generation: None,
            child: None,
        };
        daemon.configure(config);
        daemon
    }

    /// The same daemon in a pod of this generation of its DaemonSet.
    #[must_use]
    pub fn of(mut self, generation: u32) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Writes another configuration, which takes effect at the next start.
    pub fn configure(&self, config: &Value) {
        fs::write(&self.config, config.to_string()).expect("write the configuration");
    }

    /// Stops the daemon if it is running, starts it, and waits until it is ready.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
        self.wait_ready();
    }

    /// Starts the daemon and does not wait.
    pub fn launch(&mut self) {
        self.launch_subcommand("serve");
    }

    /// Starts another subcommand that runs until it is stopped: `uninstall`.
    pub fn launch_subcommand(&mut self, subcommand: &str) {
        let log = File::options().create(true).append(true).open(&self.log);
        let mut command = Command::new(binary("plexusd"));
        command
            .arg(subcommand)
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            // Nothing is printed to stdout: the end of the pipe is the end of the daemon.
            .stdout(Stdio::piped())
            .stderr(log.expect("open the log"));
        match &self.source {
            Source::Manifests(dir) => command.arg("--manifests").arg(dir),
            Source::Kubeconfig { path, node_name } => {
                let args: [OsString; 4] = [
                    "--kubeconfig".into(),
                    path.into(),
                    "--node-name".into(),
                    node_name.into(),
                ];
                command.args(args)
            }
            Source::Environment(variables) => command.envs(variables.iter().cloned()),
        };
        if let Some(generation) = self.generation {
            command.env("PLEXUS_GENERATION", generation.to_string());
        }
        let container = &self.container;
        let start = || {
            if container.own_pids {
                // Applies to children of this thread.
                unshare(CloneFlags::CLONE_NEWPID)?;
            }
            if !container.hidden.is_empty() || container.root.is_some() {
                mounts::enter_container(&container.hidden, container.root.as_deref())?;
            }
            command.spawn()
        };
        self.child = Some(self.node.run(start).expect("start plexusd"));
    }

    /// Waits until `/readyz` returns 200. Panics with the log if the daemon exits or does not
    /// become ready in time.
    pub fn wait_ready(&mut self) {
        let end = Instant::now() + TIMEOUT;
        loop {
            let reply = self.get("/readyz");
            if reply.as_ref().is_ok_and(|reply| reply.status == 200) {
                return;
            }
            // Neither a listening socket nor readiness can be waited for, but the exit can.
            if self.has_exited_within(Duration::from_millis(5)) {
                let status = self.reap();
                panic!("plexusd exited: {status}\n{}", self.log());
            }
            assert!(
                Instant::now() < end,
                "plexusd is not ready: {reply:?}\n{}",
                self.log()
            );
        }
    }

    /// Waits until `/readyz` returns 500 with `text`.
    pub fn wait_not_ready(&self, text: &str) {
        let end = Instant::now() + TIMEOUT;
        loop {
            let reply = self.get("/readyz");
            let is_not_ready = |reply: &Reply| reply.status == 500 && reply.body.contains(text);
            if reply.as_ref().is_ok_and(is_not_ready) {
                return;
            }
            assert!(
                Instant::now() < end,
                "expected not ready with {text:?}: {reply:?}\n{}",
                self.log()
            );
            std::thread::yield_now();
        }
    }

    /// Stops the daemon with SIGTERM and waits for its exit. Does nothing if it is not running.
    pub fn stop(&mut self) {
        if self.child.is_some() {
            self.terminate();
            self.wait_exit();
        }
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Kills the daemon with SIGKILL and waits for its exit.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.reap();
    }

    /// Waits until the daemon has exited.
    pub fn wait_exit(&mut self) -> ExitStatus {
        assert!(
            self.has_exited_within(TIMEOUT),
            "plexusd does not exit\n{}",
            self.log()
        );
        self.reap()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).expect("a process ID");
        kill(Pid::from_raw(pid), signal).expect("send a signal");
    }

    /// The process ID. Panics if the daemon is not running.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("plexusd is running").id()
    }

    /// The path of the socket on the node.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The log of all daemons of this node.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until the log contains `text`.
    pub fn wait_log(&self, text: &str) {
        let watch = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).expect("inotify");
        watch
            .add_watch(&self.log, AddWatchFlags::IN_MODIFY)
            .expect("watch the log");
        let end = Instant::now() + TIMEOUT;
        while !self.log().contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{text:?} is not in the log\n{}",
                self.log()
            );
            let mut fds = [PollFd::new(watch.as_fd(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::try_from(left).expect("timeout fits")).expect("poll");
            let _ = watch.read_events();
        }
    }

    /// Runs `plexusd ledger` on the node. Returns its stdout.
    ///
    /// # Errors
    /// Its stderr.
    pub fn ledger(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.subcommand(&[&["ledger"], arguments].concat());
        if output.ok() {
            Ok(output.stdout)
        } else {
            Err(output.stderr)
        }
    }

    /// Runs a subcommand of `plexusd` on the node.
    pub fn subcommand(&self, arguments: &[&str]) -> CniOutput {
        let mut command = Command::new(binary("plexusd"));
        let output = self.node.run(|| command.args(arguments).output());
        output.expect("execute plexusd").into()
    }

    /// `GET path` on the socket.
    pub fn get(&self, path: &str) -> io::Result<Reply> {
        self.exchange(&http::request("GET", path, b""))
    }

    /// Sends these bytes to the socket and reads an HTTP response.
    pub fn exchange(&self, request: &[u8]) -> io::Result<Reply> {
        self.node.run(|| http::exchange(&self.socket, request))
    }

    fn has_exited_within(&self, time: Duration) -> bool {
        let Some(stdout) = self.child.as_ref().and_then(|child| child.stdout.as_ref()) else {
            return true;
        };
        let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::empty())];
        let timeout = PollTimeout::try_from(time).expect("timeout fits");
        poll(&mut fds, timeout).is_ok_and(|ready| ready > 0)
    }

    fn reap(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("plexusd is running");
        child.wait().expect("wait for plexusd")
    }

    pub(crate) fn node(&self) -> &'n Node {
        self.node
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of plexusd ---\n{}---", self.log());
        }
    }
}
