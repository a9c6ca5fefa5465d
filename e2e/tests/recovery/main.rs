//! What is left half done is finished without anybody asking: after a kill -9 at each step, after the end of a sandbox
//! that nobody told, after calls that found no daemon.

mod abandon;
mod gone;
mod killed;
mod ledger;
mod spool;
mod stage;
