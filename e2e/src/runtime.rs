//! A container runtime: executes the shim as containerd and CRI-O do.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use crate::binaries::binary;
use crate::json::with_keys;
use crate::plexus::PUBLISHED;
use crate::{CniOutput, CniTarget, Node, Pod, Sandbox};

/// The runtime whose behaviour is simulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavour {
    /// After a failed ADD: one DEL whose failure is ignored, then the network namespace is removed
    /// and the ID never used again. At the end of a pod: DEL, removal of the namespace, and a DEL
    /// without it.
    Containerd,
    /// CHECK after ADD. CHECK and DEL get the configuration and the arguments of the ADD from a
    /// cache. The network namespace is removed after DEL even if DEL failed, and no other DEL
    /// follows until the runtime [restarts](Runtime::restart).
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
    /// The cached attachments.
    cache: Mutex<BTreeMap<Key, Cached>>,
    /// The interfaces of running pods.
    running: Mutex<BTreeSet<Key>>,
    calls: AtomicUsize,
}

/// A container and an interface.
type Key = (String, String);

/// What libcni stores after an ADD.
#[derive(Debug, Clone)]
struct Cached {
    target: CniTarget,
    config: Value,
    result: Value,
}

/// A plugin that is being executed.
#[derive(Debug)]
pub struct RunningCall {
    child: Child,
    writer: JoinHandle<()>,
}

impl<'n> Runtime<'n> {
    /// Executes the shim, with `keys` merged into the usual configuration.
    pub fn of_shim(node: &'n Node, flavour: Flavour, keys: Value) -> Self {
        let config = json!({
            "cniVersion": "1.1.0",
            "name": "plexus",
            "type": "plexus",
            "capabilities": {
                "io.kubernetes.cri.pod-annotations": true, "portMappings": true, "cgroupPath": true,
            },
        });
        Self::new(node, flavour, binary("plexus"), with_keys(config, keys))
    }

    /// Executes `plugin` with the plugin configuration `config`, which has `name` and `cniVersion`.
    pub fn new(node: &'n Node, flavour: Flavour, plugin: PathBuf, config: Value) -> Self {
        let cni_path = node.bin_dir().to_string_lossy().into_owned();
        Self {
            node,
            flavour,
            plugin,
            config,
            cni_path,
            cache: Mutex::default(),
            running: Mutex::default(),
            calls: AtomicUsize::new(0),
        }
    }

    /// Sets `CNI_PATH`.
    #[must_use]
    pub fn with_cni_path(mut self, path: impl Into<String>) -> Self {
        self.cni_path = path.into();
        self
    }

    pub fn add(&self, target: &CniTarget) -> CniOutput {
        let output = self.start("ADD", target).wait();
        if let (true, Some(result)) = (output.ok(), &output.json) {
            let cached = Cached {
                target: target.clone(),
                config: self.config.clone(),
                result: result.clone(),
            };
            lock(&self.cache).insert(key(target), cached);
        }
        output
    }

    /// DEL, with the cached result of ADD if there is one.
    pub fn del(&self, target: &CniTarget) -> CniOutput {
        let output = self.start("DEL", target).wait();
        if output.ok() {
            lock(&self.cache).remove(&key(target));
        }
        output
    }

    /// CHECK, with the cached result of ADD.
    pub fn check(&self, target: &CniTarget) -> CniOutput {
        self.start("CHECK", target).wait()
    }

    pub fn status(&self) -> CniOutput {
        self.execute("STATUS", &BTreeMap::new(), &self.config)
            .wait()
    }

    /// GC, with the valid (container, interface) pairs.
    pub fn gc(&self, valid: &[(&str, &str)]) -> CniOutput {
        let valid: Vec<_> = valid
            .iter()
            .map(|(id, ifname)| json!({"containerID": id, "ifname": ifname}))
            .collect();
        let mut config = self.config.clone();
        config["cni.dev/valid-attachments"] = json!(valid);
        config["cni.dev/attachments"] = json!(valid);
        self.execute("GC", &BTreeMap::new(), &config).wait()
    }

    pub fn version(&self) -> CniOutput {
        let config = json!({"cniVersion": self.config["cniVersion"]});
        self.execute("VERSION", &BTreeMap::new(), &config).wait()
    }

    /// Starts a pod as this runtime does. If that fails, the sandbox is removed.
    pub fn run_pod(&self, sandbox: &Sandbox<'_>, pod: &Pod) -> CniOutput {
        let target = sandbox.target(pod);
        let mut output = self.add(&target);
        if output.ok() && self.flavour == Flavour::Crio {
            let check = self.check(&target);
            if !check.ok() {
                output = check;
            }
        }
        if output.ok() {
            lock(&self.running).insert(key(&target));
        } else {
            self.del(&target);
            sandbox.remove();
        }
        output
    }

    /// Stops a pod as this runtime does. Returns the output of the first DEL that failed, or of the
    /// last one. After a failure containerd keeps the sandbox, and kubelet retries.
    pub fn stop_pod(&self, sandbox: &Sandbox<'_>, pod: &Pod) -> CniOutput {
        let target = sandbox.target(pod);
        lock(&self.running).remove(&key(&target));
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

    /// Starts again as CRI-O does: loads the configuration that the daemon has published if there is
    /// one, and requires that VERSION lists its version. Then calls DEL for cached attachments whose
    /// pods do not run, and GC with the others if the version has GC.
    pub fn restart(&mut self) {
        if let Ok(list) = self.node.try_read(PUBLISHED) {
            self.config = only_plugin(&list);
        }
        let output = self.version();
        let supported = &output.result()["supportedVersions"];
        let version = &self.config["cniVersion"];
        let versions = supported.as_array().expect("a list");
        assert!(versions.contains(version), "{version} in {supported}");
        let running = lock(&self.running).clone();
        let cached = lock(&self.cache).clone();
        for (key, Cached { target, .. }) in &cached {
            if !running.contains(key) {
                self.del(target);
            }
        }
        if version == "1.1.0" {
            let pairs = running.iter();
            let valid: Vec<_> = pairs.map(|(id, ifname)| (&**id, &**ifname)).collect();
            self.gc(&valid).expect_success();
        }
    }

    /// Starts a call and does not wait for it.
    pub fn start(&self, operation: &str, target: &CniTarget) -> RunningCall {
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
        self.execute(operation, &env, &self.config_for(operation, target))
    }

    /// Executes the plugin with `env` merged into the runtime's environment, and with this
    /// configuration.
    pub fn execute(
        &self,
        operation: &str,
        env: &BTreeMap<String, Option<String>>,
        config: &Value,
    ) -> RunningCall {
        self.execute_raw(operation, env, config.to_string().into_bytes())
    }

    /// The same with arbitrary bytes on stdin.
    pub fn execute_raw(
        &self,
        operation: &str,
        env: &BTreeMap<String, Option<String>>,
        stdin: Vec<u8>,
    ) -> RunningCall {
        let mut process = Command::new(&self.plugin);
        process
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // libcni sets all of them, and leaves those empty that do not apply.
        for empty in ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"] {
            process.env(empty, "");
        }
        process
            .env("CNI_COMMAND", operation)
            .env("CNI_PATH", &self.cni_path);
        for (key, value) in env {
            match value {
                Some(value) => process.env(key, value),
                None => process.env_remove(key),
            };
        }
        let mut child = self
            .node
            .spawn(&mut process)
            .unwrap_or_else(|error| panic!("{}: {error}", self.plugin.display()));
        let mut pipe = child.stdin.take().expect("stdin is piped");
        // Writing fails if the plugin does not read stdin or is killed.
        let writer = thread::spawn(move || drop(pipe.write_all(&stdin)));
        RunningCall { child, writer }
    }

    /// `CNI_ARGS`, in a different order each time: containerd builds it from a map.
    fn cni_args(&self, target: &CniTarget) -> String {
        let mut pairs = vec![("IgnoreUnknown", "1")];
        if let Some(pod) = &target.pod {
            pairs.push(("K8S_POD_NAMESPACE", &pod.namespace));
            pairs.push(("K8S_POD_NAME", &pod.name));
            pairs.push(("K8S_POD_INFRA_CONTAINER_ID", &target.container));
            pairs.push(("K8S_POD_UID", &pod.uid));
        }
        let additional = target.args.iter();
        pairs.extend(additional.map(|(key, value)| (key.as_str(), value.as_str())));
        let rotation = self.calls.fetch_add(1, Ordering::Relaxed) % pairs.len();
        pairs.rotate_left(rotation);
        pairs
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
            .join(";")
    }

    /// The configuration with the keys that libcni adds: `runtimeConfig`, and `prevResult` for
    /// CHECK and DEL.
    fn config_for(&self, operation: &str, target: &CniTarget) -> Value {
        let cached = match operation {
            "ADD" => None,
            _ => lock(&self.cache).get(&key(target)).cloned(),
        };
        let (mut config, args) = match &cached {
            Some(cached) if self.flavour == Flavour::Crio => {
                (cached.config.clone(), &cached.target.capability_args)
            }
            _ => (self.config.clone(), &target.capability_args),
        };
        let mut args = args.clone();
        args.retain(|key, _| config["capabilities"][key] == Value::Bool(true));
        if !args.is_empty() {
            config["runtimeConfig"] = Value::Object(args);
        }
        let old = matches!(
            config["cniVersion"].as_str(),
            None | Some("0.1.0" | "0.2.0" | "0.3.0" | "0.3.1")
        );
        if let (false, Some(cached)) = (old, cached) {
            config["prevResult"] = cached.result;
        }
        config
    }
}

impl RunningCall {
    /// Waits until the plugin has ended.
    pub fn wait(self) -> CniOutput {
        let output = self.child.wait_with_output().expect("wait for the plugin");
        let _ = self.writer.join();
        output.into()
    }

    /// Kills the plugin with SIGKILL, as a runtime does after the timeout of its caller.
    pub fn kill(mut self) -> CniOutput {
        let _ = self.child.kill();
        self.wait()
    }

    /// The process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

fn key(target: &CniTarget) -> Key {
    (target.container.clone(), target.ifname.clone())
}

/// The configuration with which libcni executes the only plugin of a list. Of several versions,
/// libcni uses the highest one, which is the last.
fn only_plugin(list: &str) -> Value {
    let list: Value = serde_json::from_str(list).expect("a configuration list");
    let [plugin] = &list["plugins"].as_array().expect("plugins")[..] else {
        panic!("not one plugin: {list}")
    };
    let versions = list["cniVersions"].as_array();
    let version = versions.and_then(|versions| versions.last());
    let version = version.unwrap_or(&list["cniVersion"]);
    let keys = json!({"cniVersion": version, "name": list["name"]});
    with_keys(plugin.clone(), keys)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("lock is not poisoned")
}
