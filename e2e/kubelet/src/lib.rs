//! A kubelet that serves only the pod-resources API, on `pod-resources/kubelet.sock` in its root
//! directory, and a device plugin for a real kubelet.
//!
//! The messages are written from the API's definition, independently of those of `plexusd`, so that
//! a wrong field number on either side fails a test.

mod device_plugin;
mod faults;
mod message;
mod pod;
mod pod_resources;
mod server;
mod state;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

pub use device_plugin::{DevicePlugin, PluginDevice};
pub use faults::{Faults, GetSupport};
pub use pod::{Claim, Container, Device, Pod};
pub use state::Call;
use state::State;

/// How long [`Kubelet::wait_calls`] waits.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A running kubelet. Dropping this stops it and leaves its socket, as a killed kubelet does.
#[derive(Debug)]
pub struct Kubelet {
    dir: PathBuf,
    state: Arc<Shared>,
    runtime: Runtime,
    /// Cancelled to stop the server and close all connections.
    stop: CancellationToken,
}

/// The state, and the condition that a call has arrived.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    called: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kubelet {
    /// Starts a kubelet without pods and devices, whose root directory is `dir`.
    pub fn start(dir: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let mut kubelet = Self {
            dir: dir.to_owned(),
            state: Arc::default(),
            runtime,
            stop: CancellationToken::new(),
        };
        kubelet.restart();
        kubelet
    }

    /// The root directory, for the key `kubeletDir`.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of the socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("pod-resources/kubelet.sock")
    }

    /// Adds a pod, or replaces the pod of this namespace and name.
    pub fn run(&self, pod: Pod) {
        let mut state = self.state();
        state.pods.retain(|other| !other.is_same(&pod));
        state.pods.push(pod);
    }

    /// Sets the devices of the node, allocated or not. Until then, `GetAllocatableResources` is not
    /// implemented.
    pub fn has_devices(&self, devices: impl IntoIterator<Item = Device>) {
        self.state().devices = Some(devices.into_iter().collect());
    }

    /// Changes how calls are answered from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The names of the methods that were called so far, in order.
    pub fn methods(&self) -> Vec<&'static str> {
        self.state().calls.iter().map(|call| call.method).collect()
    }

    /// Waits until this number of calls has arrived since the start.
    pub fn wait_calls(&self, number: usize) {
        let too_few = |state: &mut State| state.calls.len() < number;
        let waited = self
            .state
            .called
            .wait_timeout_while(self.state(), TIMEOUT, too_few);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{:?} after {TIMEOUT:?}", state.calls);
    }

    /// Closes all connections and stops. The socket stays, and refuses connections.
    pub fn stop(&mut self) {
        self.stop.cancel();
    }

    /// Stops if running, and starts with a new socket, as a new process does.
    pub fn restart(&mut self) {
        self.stop();
        self.stop = CancellationToken::new();
        let socket = self.socket();
        let _runtime = self.runtime.enter();
        fs::create_dir_all(socket.parent().expect("a directory")).expect("create the directory");
        let listener =
            server::bind(&socket).unwrap_or_else(|error| panic!("{}: {error}", socket.display()));
        let state = self.state.clone();
        let server = server::serve(listener, self.stop.clone(), move |request| {
            pod_resources::answer(state.clone(), request)
        });
        self.runtime.spawn(server);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.stop();
    }
}
