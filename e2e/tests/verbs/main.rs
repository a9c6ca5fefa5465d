//! The verbs end to end: the shim, executed as a runtime does, a running plexusd, and plugins that do as told.

mod add;
mod bad_input;
mod check;
mod default_route;
mod del;
mod from_multus;
mod gc_status;
mod isolation;
mod many;
mod multus;
mod networks;
mod rollback;
mod stale;
mod versions;
mod wire;

use plexus_e2e::plexus;
