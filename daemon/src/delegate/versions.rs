//! VERSION: the versions of the specification that plugins support.

use plexus_api::cni::{CniError, Code, NetworkConfig, Verb};
use plexus_api::shorten;
use serde::Deserialize;

use super::chain::Step;
use super::request::Payload;
use super::{Delegates, PluginCall};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    supported_versions: Vec<String>,
}

impl Delegates {
    /// Asks each plugin of a network for the versions that it supports. Returns its type and its
    /// answer.
    pub(crate) async fn versions(
        &self,
        call: &PluginCall,
        network: &NetworkConfig,
    ) -> Vec<(String, Result<Vec<String>, CniError>)> {
        let mut versions = Vec::new();
        for plugin in &network.plugins {
            let step = Step::of_network(call, Verb::Version, network, plugin);
            let answer = async {
                let program = self.find_step(step).await?;
                let dirs = self.dirs(call);
                // The reserved keys of STATUS are those of VERSION.
                self.execute(step, Payload::Status, &dirs, &program, parse)
                    .await
                    .map_err(CniError::from)
            };
            versions.push((plugin.kind(), answer.await));
        }
        versions
    }
}

fn parse(stdout: &[u8]) -> Result<Vec<String>, CniError> {
    let answer: Answer = serde_json::from_slice(stdout).map_err(|error| {
        let text = format!("no valid answer: {}", shorten(&error.to_string()));
        CniError::new(Code::Decode, text)
    })?;
    Ok(answer.supported_versions)
}
