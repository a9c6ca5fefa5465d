//! The API server must respond as Kubernetes does, to a plain HTTP client and to kube-rs.

mod access;
mod audit;
mod create;
mod delete;
mod discovery;
mod events;
mod faults;
mod kube_client;
mod lists;
mod patch;
mod selectors;
mod status;
mod support;
mod update;
mod watches;
