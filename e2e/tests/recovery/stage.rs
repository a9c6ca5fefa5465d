//! A node with a daemon that looks for leftovers often, a default network and a definition, both by scripted plugins.

use std::fs;
use std::ops::{Deref, DerefMut};

use plexus_e2e::plexus::{attaches, runtime, with_keys};
use plexus_e2e::{Call, Node, Plexus, Sandbox, Target};
use serde_json::{Value, json};

/// The definition `second`, and its plugin.
pub const SECOND: &str = "second";

/// Plexus on its node, with [`SECOND`] for every pod.
pub struct Stage<'n>(Plexus<'n>);

impl<'n> Deref for Stage<'n> {
    type Target = Plexus<'n>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Stage<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<'n> Stage<'n> {
    /// Starts it.
    pub fn start(node: &'n Node) -> Self {
        Self::configured(node, json!({}))
    }

    /// Starts it with `keys` over the usual ones of its configuration.
    pub fn configured(node: &'n Node, keys: Value) -> Self {
        let usual = json!({"recoveryInterval": "20ms", "goneGap": "40ms", "logLevel": "debug"});
        let mut plexus = Plexus::configured(node, with_keys(usual, keys));
        plexus.network(SECOND, &attaches());
        plexus.runtime = runtime(node, json!({"daemonWaitDel": "20ms"}));
        Self(plexus)
    }

    /// A sandbox with both networks.
    pub fn attached(&self, name: &str) -> (Sandbox<'n>, Target) {
        self.0.attached(name, SECOND)
    }

    /// A sandbox that is to get both networks.
    pub fn sandbox(&self, name: &str) -> (Sandbox<'n>, Target) {
        self.0.sandbox(name, SECOND)
    }

    /// Kills the daemon and starts it again.
    pub fn kill_and_restart(&mut self) {
        self.daemon.kill9();
        self.daemon.restart();
    }

    /// The lines of a record.
    pub fn record(&self, target: &Target) -> Vec<String> {
        let text = self
            .node
            .run(|| fs::read_to_string(record_path(target)).expect("there is a record"));
        text.lines().map(str::to_owned).collect()
    }

    /// Gives a record these lines, as if nothing had been written since. The daemon must not run.
    pub fn write_record(&self, target: &Target, lines: &[String]) {
        let text = lines.join("\n") + "\n";
        self.node
            .run(|| fs::write(record_path(target), text).expect("a record can be written"));
    }

    /// What the plugins were asked about a container from call number `from` on: `verb plugin ifname` each.
    pub fn calls(&self, target: &Target, from: usize) -> Vec<String> {
        self.calls_about(target)[from..]
            .iter()
            .map(Call::summary)
            .collect()
    }

    /// The calls about a container.
    pub fn calls_about(&self, target: &Target) -> Vec<Call> {
        self.node
            .calls()
            .into_iter()
            .filter(|call| call.env("CNI_CONTAINERID") == target.container)
            .collect()
    }
}

/// The file of a record.
pub fn record_path(target: &Target) -> String {
    format!(
        "/var/lib/plexus/ledger/{}:{}.jsonl",
        target.container, target.ifname
    )
}
