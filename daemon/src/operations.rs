//! The steps of each CNI operation, and the dispatch of a call to its operation.
//!
//! DEL, CHECK and GC start from the ledger and never ask the API server.

mod add;
mod adopt;
mod attach;
mod change;
mod check;
mod del;
mod del_without_record;
mod delegate;
mod delete_otherwise;
mod dispatch;
mod errors;
mod gc;
mod network_status;
mod record_lock;
mod request;
mod routes;
mod status;
mod time_shares;
mod undo;

pub(crate) use change::{Change, finish_change};
pub(crate) use dispatch::{Call, dispatch, needs_ledger};
pub(crate) use network_status::{is_status_too_large, resume_status};
pub(crate) use record_lock::{RecordMemory, loaded_size, lock_with_guard, lock_within};
pub(crate) use request::{check_del, time_limit};
pub(crate) use status::wait_until_able_to_add;
pub(crate) use undo::{Failures, UndoArgs, mark_orphaned, recorded_netns, undo};
