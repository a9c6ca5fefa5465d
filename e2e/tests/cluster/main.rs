//! plexusd as the daemon of a node of a cluster: its API server is one in memory.

mod audit;
mod bench;
mod events;
mod footprint;
mod lookups;
mod outage;
mod source;
mod status;
mod takeover;
