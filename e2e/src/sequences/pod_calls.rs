//! The CNI calls of a runtime for one pod.

use std::sync::mpsc::Sender;

use crate::{CniOutput, CniTarget, Flavour, Runtime, Sandbox};

/// A pod of a runtime.
#[derive(Debug)]
pub struct PodCalls<'a, 'n> {
    pub runtime: &'a Runtime<'n>,
    pub flavour: Flavour,
    pub sandbox: &'a Sandbox<'n>,
    pub target: CniTarget,
    /// Receives the process ID of each shim, for a test that kills it.
    pub shims: Sender<u32>,
}

impl PodCalls<'_, '_> {
    /// Starts the pod. Returns false if that fails; the sandbox is then removed, and its ID is not
    /// used again.
    pub fn start(&self) -> bool {
        let mut ok = self.call("ADD", &self.target).ok();
        if ok && self.flavour == Flavour::Crio {
            ok = self.call("CHECK", &self.target).ok();
        }
        if !ok {
            self.call("DEL", &self.target);
            self.sandbox.remove();
        }
        ok
    }

    /// Stops the pod. Returns the output of the first DEL. After a failure containerd keeps the
    /// sandbox and kubelet retries; CRI-O removes the sandbox and nothing retries.
    pub fn stop(&self) -> CniOutput {
        let first = self.call("DEL", &self.target);
        if first.ok() || self.flavour == Flavour::Crio {
            self.sandbox.remove();
        }
        if first.ok() && self.flavour == Flavour::Containerd {
            // The runtime ignores the output.
            self.call("DEL", &self.target.without_netns());
        }
        first
    }

    fn call(&self, operation: &str, target: &CniTarget) -> CniOutput {
        let running = self.runtime.start(operation, target);
        // Most tests do not kill shims and have dropped the receiver.
        let _ = self.shims.send(running.pid());
        running.wait()
    }
}
