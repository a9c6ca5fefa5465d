//! The verbs end to end: the shim, executed as a runtime does, a running plexusd, and plugins that do as told.

mod add;
mod bad_input;
mod check;
mod del;
mod plexus;
mod rollback;
mod watch;
