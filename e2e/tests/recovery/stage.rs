//! A node with a daemon that looks for leftovers often, a default network and a definition, both by scripted plugins.

use std::fs;
use std::path::Path;

use plexus_e2e::binaries::binary;
use plexus_e2e::{Call, Changes, Daemon, Flavour, Manifests, Node, Pod, Runtime, Sandbox, Script, Step, Target};
use serde_json::{Value, json};

/// The plugin of the default network.
pub const FIRST: &str = "first";
/// The plugin of the definition `second`.
pub const SECOND: &str = "second";

const STATE: &str = "/var/lib/plexus";

/// The daemon on its node.
pub struct Stage<'n> {
    pub node: &'n Node,
    pub manifests: Manifests,
    pub config: Value,
    pub daemon: Daemon<'n>,
    pub runtime: Runtime<'n>,
}

impl<'n> Stage<'n> {
    /// Starts it.
    pub fn start(node: &'n Node) -> Self {
        Self::configured(node, &[])
    }

    /// Starts it with these keys over the usual ones of its configuration.
    pub fn configured(node: &'n Node, keys: &[(&str, Value)]) -> Self {
        node.plugin(FIRST, &attaches());
        node.plugin(SECOND, &attaches());
        let network = node.scratch().join("first.conf");
        let text = json!({"cniVersion": "1.0.0", "name": FIRST, "type": FIRST}).to_string();
        fs::write(&network, text).expect("it can be written");
        let manifests = Manifests::new(node.scratch().join("manifests"));
        manifests.definition(SECOND, &json!({"cniVersion": "1.0.0", "type": SECOND}));
        let mut config = json!({
            "clusterNetwork": network, "recoveryInterval": "20ms", "goneGap": "40ms", "logLevel": "debug",
        });
        for (key, value) in keys {
            config[key] = value.clone();
        }
        let daemon = Daemon::start(node, &config, manifests.dir());
        Self { node, manifests, config, daemon, runtime: runtime(node, &[]) }
    }

    /// A sandbox with both networks.
    pub fn attached(&self, name: &str) -> (Sandbox<'n>, Target) {
        let (sandbox, target) = self.sandbox(name);
        self.runtime.add(&target).result();
        (sandbox, target)
    }

    /// A sandbox that is to get both networks.
    pub fn sandbox(&self, name: &str) -> (Sandbox<'n>, Target) {
        let sandbox = self.node.sandbox(name);
        let target = Target::new(&sandbox, "eth0", &Pod::new(name).with_networks(SECOND));
        (sandbox, target)
    }

    /// Kills the daemon and starts it again.
    pub fn kill_and_restart(&mut self) {
        self.daemon.kill9();
        self.daemon.launch();
        self.daemon.wait_ready();
    }

    /// Waits until the records are those of these containers.
    pub fn wait_records(&self, containers: &[&Target]) {
        self.wait_files("ledger", containers);
    }

    /// Waits until the spool has the calls of these containers.
    pub fn wait_spool(&self, containers: &[&Target]) {
        self.wait_files("spool", containers);
    }

    fn wait_files(&self, dir: &str, containers: &[&Target]) {
        let mut wanted: Vec<_> = containers.iter().map(|target| target.container.clone()).collect();
        wanted.sort();
        let path = Path::new(STATE).join(dir);
        let changes = Changes::watch(self.node, &[&path]);
        changes.until_none(|| Some(self.containers_in(dir)).filter(|found| *found != wanted));
    }

    /// The containers that have a record.
    pub fn records(&self) -> Vec<String> {
        self.containers_in("ledger")
    }

    fn containers_in(&self, dir: &str) -> Vec<String> {
        let names = self.files(dir);
        names.iter().filter_map(|name| Some(name.split_once(':')?.0.to_owned())).collect()
    }

    /// The names of the files in a directory of the state directory, in order.
    pub fn files(&self, dir: &str) -> Vec<String> {
        let entries = self.node.run(|| fs::read_dir(Path::new(STATE).join(dir)).into_iter().flatten().flatten());
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    /// The lines of a record.
    pub fn record(&self, target: &Target) -> Vec<String> {
        let text = self.node.run(|| fs::read_to_string(record_path(target)).expect("there is a record"));
        text.lines().map(str::to_owned).collect()
    }

    /// Gives a record these lines, as if nothing had been written since. The daemon must not run.
    pub fn write_record(&self, target: &Target, lines: &[String]) {
        let text = lines.join("\n") + "\n";
        self.node.run(|| fs::write(record_path(target), text).expect("a record can be written"));
    }

    /// What the plugins were asked about a container from call number `from` on: `verb plugin ifname` each.
    pub fn calls(&self, target: &Target, from: usize) -> Vec<String> {
        self.calls_about(target)[from..].iter().map(Call::summary).collect()
    }

    /// The calls about a container.
    pub fn calls_about(&self, target: &Target) -> Vec<Call> {
        self.node.calls().into_iter().filter(|call| call.env("CNI_CONTAINERID") == target.container).collect()
    }
}

/// The file of a record.
pub fn record_path(target: &Target) -> String {
    format!("{STATE}/ledger/{}:{}.jsonl", target.container, target.ifname)
}

/// A runtime that waits little for a daemon, with these keys over the usual ones of its configuration.
pub fn runtime<'n>(node: &'n Node, keys: &[(&str, Value)]) -> Runtime<'n> {
    let mut config = json!({
        "cniVersion": "1.1.0", "name": "plexus", "type": "plexus", "daemonWaitDel": "20ms",
        "capabilities": {"io.kubernetes.cri.pod-annotations": true},
    });
    for (key, value) in keys {
        config[key] = value.clone();
    }
    Runtime::new(node, Flavour::Containerd, binary("plexus"), config)
}

/// A plugin that makes its link and removes it.
pub fn attaches() -> Script {
    Script::new().on("ADD", [Step::Link("bridge".into())]).on("DEL", [Step::Unlink])
}
