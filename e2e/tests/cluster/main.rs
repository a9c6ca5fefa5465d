//! plexusd as the daemon of a node of a cluster: its API server is one in memory.

mod audit;
mod bench;
mod deleted;
mod events;
mod footprint;
mod harness;
mod installation;
mod lookups;
mod outage;
mod sandboxes;
mod source;
mod startup_taint;
mod status;
mod takeover;
