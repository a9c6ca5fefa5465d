//! The calls of a runtime for one pod, with the shim's process told to who wants to kill it.

use std::sync::mpsc::Sender;

use crate::{Answer, Flavour, Runtime, Sandbox, Target};

/// A runtime that is played step by step.
#[derive(Debug)]
pub struct Steps<'a, 'n> {
    pub runtime: &'a Runtime<'n>,
    pub flavour: Flavour,
    pub sandbox: &'a Sandbox<'n>,
    pub target: Target,
    /// Gets the process ID of each shim.
    pub shims: Sender<u32>,
}

impl Steps<'_, '_> {
    /// Begins the pod. Whether it lives then; otherwise its sandbox is gone and its ID not used again.
    pub fn begin(&self) -> bool {
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

    /// Ends the pod: the answer of the first DEL. After a failure containerd keeps the sandbox, and kubelet comes again;
    /// CRI-O removes it and nobody comes.
    pub fn end(&self) -> Answer {
        let first = self.call("DEL", &self.target);
        if first.ok() || self.flavour == Flavour::Crio {
            self.sandbox.remove();
        }
        if first.ok() && self.flavour == Flavour::Containerd {
            // Whatever it answers: the pod is gone.
            self.call("DEL", &self.target.without_netns());
        }
        first
    }

    fn call(&self, verb: &str, target: &Target) -> Answer {
        let running = self.runtime.start(verb, target);
        // Nobody need want to know.
        let _ = self.shims.send(running.pid());
        running.wait()
    }
}
