//! The built shim, executed as a container runtime does, against a daemon that the test plays.

mod answers;
mod environment;
mod forwarding;
mod spool;
mod stdin;
mod streams;
mod support;
mod versions;
mod waiting;
