//! A real containerd on a node.

mod pause;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Node;
use crate::cri::Cri;

/// How long containerd may take to start.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The containerd namespace of pods.
const PODS: &str = "k8s.io";

/// A running containerd, from the directory `PLEXUS_E2E_CONTAINERD` (which has `containerd`, `ctr`
/// and the shim) or from PATH. Dropping this kills containerd and its containers. If the test
/// fails, the log is printed.
#[derive(Debug)]
pub struct Containerd<'n> {
    node: &'n Node,
    child: Option<Child>,
    log: PathBuf,
}

impl<'n> Containerd<'n> {
    /// What is missing to run containerd here.
    pub fn missing() -> Option<String> {
        let programs = ["containerd", "containerd-shim-runc-v2", "ctr", "runc"];
        if let Some(program) = programs.into_iter().find(|program| find(program).is_none()) {
            return Some(format!(
                "{program} is missing (Debian packages containerd and runc)"
            ));
        }
        (!is_root()).then(|| "containerd must run as root outside of a user namespace".to_owned())
    }

    /// Starts containerd for containers, without the CRI.
    pub fn start(node: &'n Node) -> Self {
        Self::configured(
            node,
            "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
            "",
        )
    }

    /// Starts containerd for pods. Their network is that of /etc/cni/net.d on this node, with
    /// plugins from [`Node::bin_dir`], which must include `loopback`.
    pub fn start_for_pods(node: &'n Node) -> Self {
        let cri = "[plugins.\"io.containerd.grpc.v1.cri\"";
        let mut pods = String::new();
        // Without CAP_SYS_RESOURCE runc cannot set an OOM score below that of this process.
        let _ = writeln!(
            pods,
            "{cri}]\nsandbox_image = \"{}\"\nrestrict_oom_score_adj = true",
            pause::IMAGE
        );
        let _ = writeln!(
            pods,
            "{cri}.cni]\nbin_dir = {}\nconf_dir = \"/etc/cni/net.d\"",
            json!(node.bin_dir())
        );
        let _ = writeln!(pods, "{cri}.containerd]\nsnapshotter = \"native\"");
        let mut this = Self::configured(node, "", &pods);
        let image = pause::archive(&node.scratch().join("pause"));
        this.ctr(&[
            "-n",
            PODS,
            "images",
            "import",
            "--no-unpack",
            &image.to_string_lossy(),
        ]);
        // The CRI plugin learns of the image asynchronously.
        this.wait("find the image", |cri| {
            cri.has_image(pause::IMAGE).is_ok_and(|has| has)
        });
        this
    }

    fn configured(node: &'n Node, top: &str, plugins: &str) -> Self {
        // runc needs control groups, which the node's sysfs lacks. The machine's sysfs is mounted
        // below it.
        node.run(|| nix::mount::umount("/sys"))
            .expect("unmount the node's sysfs");
        let dir = node.scratch().join("containerd");
        fs::create_dir(&dir).expect("create the directory");
        let text = format!(
            "version = 2\nroot = {}\nstate = {}\n{top}[grpc]\naddress = {}\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\npath = {}\n{plugins}",
            json!(dir.join("root")),
            json!(dir.join("state")),
            json!(socket(node)),
            json!(dir.join("opt")),
        );
        fs::write(dir.join("config.toml"), text).expect("write the configuration");
        let mut this = Self {
            node,
            child: None,
            log: dir.join("log"),
        };
        this.launch();
        this
    }

    /// Kills containerd and starts it again. Its containers keep running.
    pub fn restart(&mut self) {
        self.kill();
        self.launch();
    }

    fn launch(&mut self) {
        let mut command = command("containerd");
        command
            .arg("--config")
            .arg(self.node.scratch().join("containerd/config.toml"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("open the log");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(self.node.spawn(&mut command).expect("execute containerd"));
        // containerd listens before the CRI is ready. Without the CRI the call is unimplemented.
        self.wait("start", |cri| {
            cri.network_ready()
                .err()
                .is_none_or(|error| !error.is_unavailable())
        });
    }

    /// Polls until `done` returns true.
    fn wait(&mut self, what: &str, done: impl Fn(&Cri) -> bool) {
        let (end, cri) = (Instant::now() + TIMEOUT, self.cri());
        while !done(&cri) {
            let ended = self
                .child
                .as_mut()
                .is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            assert!(!ended && Instant::now() < end, "containerd does not {what}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// A client of the CRI.
    pub fn cri(&self) -> Cri {
        Cri::at(&socket(self.node))
    }

    /// Runs `ctr` and returns its stdout. Panics if the command fails.
    pub fn ctr(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "ctr {args:?}: {stdout}{stderr}");
        stdout.into_owned()
    }

    /// Runs `ctr`. Returns whether it succeeds, and its output.
    pub fn try_ctr(&self, args: &[&str]) -> (bool, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.output(args);
        (
            status.success(),
            String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
        )
    }

    fn output(&self, args: &[&str]) -> Output {
        let mut command = command("ctr");
        command.arg("--address").arg(socket(self.node)).args(args);
        self.node.run(|| command.output()).expect("execute ctr")
    }
}

impl Drop for Containerd<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!(
                "--- log of containerd ---\n{}---",
                fs::read_to_string(&self.log).unwrap_or_default()
            );
        }
        // Containers have mount namespaces of their own, so the node does not kill their processes.
        for namespace in ["default", PODS] {
            let (ok, tasks) = self.try_ctr(&["-n", namespace, "tasks", "list", "--quiet"]);
            for task in tasks.lines().filter(|_| ok) {
                self.try_ctr(&["-n", namespace, "tasks", "rm", "--force", task]);
            }
        }
        self.kill();
    }
}

/// Whether this process is root in the initial user namespace.
fn is_root() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    nix::unistd::geteuid().is_root() && map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn command(program: &str) -> Command {
    let mut command = Command::new(find(program).unwrap_or_else(|| program.into()));
    command.env("PATH", search_path());
    command
}

fn find(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path())
        .map(|dir| dir.join(program))
        .find(|program| program.exists())
}

fn search_path() -> OsString {
    let own = std::env::var_os("PLEXUS_E2E_CONTAINERD").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = own
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(["/usr/sbin".into(), "/sbin".into()]);
    std::env::join_paths(dirs).expect("no directory contains a colon")
}

fn socket(node: &Node) -> PathBuf {
    node.scratch().join("containerd.sock")
}
