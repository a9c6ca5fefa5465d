//! plexusd on a node of a cluster. Most tests need the API server in memory.

mod deleted_pods;
mod dra;
mod events;
mod footprint;
mod installation_events;
mod lookups;
mod outage;
mod sandboxes;
mod source;
mod startup_taint;
mod static_pods;
mod status;
mod status_retries;
mod takeover;
mod unattached_pods;

use plexus_apiserver::PolicyRule;
use plexus_e2e::{workspace, yaml};
use serde_json::Value;

/// The rules of the `ClusterRole` in a file of the repository.
fn rules(file: &str) -> Vec<PolicyRule> {
    let objects = yaml::documents(&workspace::read(file)).expect("a YAML file");
    let role = objects
        .into_iter()
        .find(|object| object["kind"] == "ClusterRole")
        .expect("a ClusterRole");
    serde_json::from_value(role["rules"].clone()).expect("rules")
}

/// The message of an event.
fn message(event: &Value) -> &str {
    event["message"].as_str().expect("a message")
}
