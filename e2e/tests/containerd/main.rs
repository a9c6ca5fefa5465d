//! Pods in a real containerd with the configuration that plexusd publishes. The tests use the CRI
//! as kubelet does.

mod cancelled_call;
mod capabilities;
mod daemon_down;
mod daemon_killed;
mod failing_networks;
mod fixture;
mod lifecycle;
mod new_configuration;
mod parallel_pods;
mod readiness;
mod runtime_restart;
