//! A container runtime: it executes the shim as containerd and CRI-O do.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use serde_json::{Map, Value, json};

use crate::{Answer, Node, Pod, Sandbox};

/// The key under which containerd hands on the pod's annotations.
const POD_ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// Which runtime is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// After a failed ADD one DEL whose failure is ignored, then the network namespace is removed and the ID never
    /// used again. At a pod's end DEL, then the namespace is removed, then DEL once more without it.
    Containerd,
    /// CHECK after ADD; the network namespace is removed after DEL even where that failed, and no DEL follows.
    Crio,
}

/// A runtime on a node, with the plugin that it executes and its network configuration.
#[derive(Debug)]
pub struct Runtime<'n> {
    node: &'n Node,
    flavour: Flavour,
    plugin: PathBuf,
    config: Value,
    cni_path: String,
    results: Mutex<BTreeMap<(String, String), Value>>,
    turn: AtomicUsize,
}

/// What a call is about.
#[derive(Debug, Clone)]
pub struct Target {
    /// `CNI_CONTAINERID`.
    pub container: String,
    /// `CNI_NETNS`; empty where the sandbox is gone.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// The pod that `CNI_ARGS` names.
    pub pod: Option<Pod>,
    /// Capability arguments that the runtime offers. The plugin's configuration decides which it gets.
    pub capability_args: Map<String, Value>,
    /// Pairs added to `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// Variables added to the environment, in place of those that the runtime sets; none removes one.
    pub env: BTreeMap<String, Option<String>>,
}

/// A plugin that is being executed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    writer: JoinHandle<()>,
}

impl Target {
    /// The interface `ifname` of `pod`, whose sandbox is `sandbox`. As containerd does, it offers the pod's annotations.
    pub fn new(sandbox: &Sandbox<'_>, ifname: &str, pod: &Pod) -> Self {
        let annotations = if pod.annotations.is_empty() {
            Value::Null
        } else {
            json!(pod.annotations)
        };
        Self {
            container: sandbox.id().to_owned(),
            netns: sandbox.path().to_owned(),
            ifname: ifname.to_owned(),
            pod: Some(pod.clone()),
            capability_args: Map::from_iter([(POD_ANNOTATIONS.to_owned(), annotations)]),
            args: Vec::new(),
            env: BTreeMap::new(),
        }
    }

    /// The same after the sandbox was removed: `CNI_NETNS` is empty.
    #[must_use]
    pub fn without_netns(&self) -> Self {
        Self {
            netns: String::new(),
            ..self.clone()
        }
    }

    /// The same with a variable of the environment set, or removed.
    #[must_use]
    pub fn with_env(mut self, key: &str, value: Option<&str>) -> Self {
        self.env.insert(key.to_owned(), value.map(str::to_owned));
        self
    }

    /// The same with a pair added to `CNI_ARGS`.
    #[must_use]
    pub fn with_arg(mut self, key: &str, value: &str) -> Self {
        self.args.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The same with a capability argument.
    #[must_use]
    pub fn with_capability(mut self, key: &str, value: Value) -> Self {
        self.capability_args.insert(key.to_owned(), value);
        self
    }
}

impl<'n> Runtime<'n> {
    /// A runtime that executes `plugin` with the plugin object `config`, which has `name` and `cniVersion`.
    pub fn new(node: &'n Node, flavour: Flavour, plugin: PathBuf, config: Value) -> Self {
        let cni_path = node.bin_dir().to_string_lossy().into_owned();
        Self {
            node,
            flavour,
            plugin,
            config,
            cni_path,
            results: Mutex::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// The same with another `CNI_PATH`.
    #[must_use]
    pub fn with_cni_path(mut self, path: impl Into<String>) -> Self {
        self.cni_path = path.into();
        self
    }

    /// ADD.
    pub fn add(&self, target: &Target) -> Answer {
        let answer = self.start("ADD", target).wait();
        if let (true, Some(result)) = (answer.ok(), &answer.json) {
            self.results().insert(key(target), result.clone());
        }
        answer
    }

    /// DEL, with the result of ADD where it is still known.
    pub fn del(&self, target: &Target) -> Answer {
        let answer = self.start("DEL", target).wait();
        if answer.ok() {
            self.results().remove(&key(target));
        }
        answer
    }

    /// CHECK, with the result of ADD.
    pub fn check(&self, target: &Target) -> Answer {
        self.start("CHECK", target).wait()
    }

    /// STATUS.
    pub fn status(&self) -> Answer {
        self.execute("STATUS", &BTreeMap::new(), &self.config)
            .wait()
    }

    /// GC, with the (container, interface) pairs that are still valid.
    pub fn gc(&self, valid: &[(&str, &str)]) -> Answer {
        let valid: Vec<_> = valid
            .iter()
            .map(|(id, ifname)| json!({"containerID": id, "ifname": ifname}))
            .collect();
        let mut config = self.config.clone();
        config["cni.dev/valid-attachments"] = json!(valid);
        config["cni.dev/attachments"] = json!(valid);
        self.execute("GC", &BTreeMap::new(), &config).wait()
    }

    /// VERSION.
    pub fn version(&self) -> Answer {
        self.execute(
            "VERSION",
            &BTreeMap::new(),
            &json!({"cniVersion": self.config["cniVersion"]}),
        )
        .wait()
    }

    /// A pod's beginning, as this runtime does it: on failure the sandbox is gone when this returns.
    pub fn run_pod(&self, sandbox: &Sandbox<'_>, pod: &Pod) -> Answer {
        let target = Target::new(sandbox, "eth0", pod);
        let mut answer = self.add(&target);
        if answer.ok() && self.flavour == Flavour::Crio {
            let check = self.check(&target);
            if !check.ok() {
                answer = check;
            }
        }
        if !answer.ok() {
            self.del(&target);
            sandbox.remove();
        }
        answer
    }

    /// A pod's end, as this runtime does it. The answer is that of the first DEL that failed, or of the last. After a
    /// failure containerd keeps the sandbox, and kubelet comes again.
    pub fn stop_pod(&self, sandbox: &Sandbox<'_>, pod: &Pod) -> Answer {
        let target = Target::new(sandbox, "eth0", pod);
        let first = self.del(&target);
        if self.flavour == Flavour::Containerd && !first.ok() {
            return first;
        }
        sandbox.remove();
        match self.flavour {
            Flavour::Containerd => self.del(&target.without_netns()),
            Flavour::Crio => first,
        }
    }

    /// Starts a call without waiting for its end.
    pub fn start(&self, verb: &str, target: &Target) -> Running {
        let env = [
            ("CNI_CONTAINERID", target.container.clone()),
            ("CNI_NETNS", target.netns.clone()),
            ("CNI_IFNAME", target.ifname.clone()),
            ("CNI_ARGS", self.cni_args(target)),
        ];
        let mut env: BTreeMap<_, _> = env
            .into_iter()
            .map(|(key, value)| (key.to_owned(), Some(value)))
            .collect();
        env.extend(target.env.clone());
        self.execute(verb, &env, &self.config_for(verb, target))
    }

    /// Executes the plugin with this environment over the runtime's own, and this configuration.
    pub fn execute(
        &self,
        verb: &str,
        env: &BTreeMap<String, Option<String>>,
        config: &Value,
    ) -> Running {
        self.execute_raw(verb, env, config.to_string().into_bytes())
    }

    /// The same with any bytes on stdin.
    pub fn execute_raw(
        &self,
        verb: &str,
        env: &BTreeMap<String, Option<String>>,
        stdin: Vec<u8>,
    ) -> Running {
        let mut command = Command::new(&self.plugin);
        command
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // libcni sets all of them, empty where they do not apply.
        for empty in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
            command.env(empty, "");
        }
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_PATH", &self.cni_path);
        for (key, value) in env {
            match value {
                Some(value) => command.env(key, value),
                None => command.env_remove(key),
            };
        }
        let spawned = self.node.spawn(&mut command);
        let mut child =
            spawned.unwrap_or_else(|error| panic!("{}: {error}", self.plugin.display()));
        let mut pipe = child.stdin.take().expect("stdin is a pipe");
        // A plugin may answer without reading, or be killed.
        let writer = thread::spawn(move || drop(pipe.write_all(&stdin)));
        Running { child, writer }
    }

    /// `CNI_ARGS`, in another order each time: containerd builds it from a map.
    fn cni_args(&self, target: &Target) -> String {
        let mut pairs = vec![("IgnoreUnknown", "1")];
        if let Some(pod) = &target.pod {
            pairs.push(("K8S_POD_NAMESPACE", &pod.namespace));
            pairs.push(("K8S_POD_NAME", &pod.name));
            pairs.push(("K8S_POD_INFRA_CONTAINER_ID", &target.container));
            pairs.push(("K8S_POD_UID", &pod.uid));
        }
        pairs.extend(
            target
                .args
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str())),
        );
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % pairs.len();
        pairs.rotate_left(turn);
        pairs
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(";")
    }

    /// The configuration with what libcni adds to it: `runtimeConfig`, and `prevResult` for CHECK and DEL.
    fn config_for(&self, verb: &str, target: &Target) -> Value {
        let mut config = self.config.clone();
        let declared = |key: &str| self.config["capabilities"][key] == Value::Bool(true);
        let args: Map<_, _> = target
            .capability_args
            .clone()
            .into_iter()
            .filter(|(key, _)| declared(key))
            .collect();
        if !args.is_empty() {
            config["runtimeConfig"] = Value::Object(args);
        }
        let old = matches!(
            config["cniVersion"].as_str(),
            None | Some("0.1.0" | "0.2.0" | "0.3.0" | "0.3.1")
        );
        if verb != "ADD"
            && !old
            && let Some(result) = self.results().get(&key(target))
        {
            config["prevResult"] = result.clone();
        }
        config
    }

    fn results(&self) -> std::sync::MutexGuard<'_, BTreeMap<(String, String), Value>> {
        self.results.lock().expect("nobody panics with it")
    }
}

impl Running {
    /// Waits for its end.
    pub fn wait(self) -> Answer {
        let answer = self
            .child
            .wait_with_output()
            .expect("a child can be waited for")
            .into();
        let _ = self.writer.join();
        answer
    }

    /// Kills it with SIGKILL, as a runtime does when its caller has run out of time.
    pub fn kill(mut self) -> Answer {
        let _ = self.child.kill();
        self.wait()
    }

    /// Its process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn key(target: &Target) -> (String, String) {
    (target.container.clone(), target.ifname.clone())
}
