//! Calls of the shim's binary, as by a container runtime, with a fake daemon.

mod environment;
mod forwarding;
mod responses;
mod spool;
mod stdin;
mod streams;
mod support;
mod versions;
mod waiting;
