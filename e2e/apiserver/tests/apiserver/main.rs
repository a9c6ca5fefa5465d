//! The API server of the bench: that it answers as Kubernetes does, to a client that knows only HTTP and to kube-rs.

mod access;
mod discovery;
mod faults;
mod kube_client;
mod lists;
mod objects;
mod status;
mod support;
mod watches;
