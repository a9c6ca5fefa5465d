//! A plan as an operator sees it. Values that may be secret are left out: the configurations of
//! plugins, and the values of `cni-args`.

use std::io::{self, Write};

use plexus_api::json::RawMap;
use serde::Serialize;

use crate::model::{Attachment, RouteOwner};
use crate::plan::{Plan, PlanInput};

/// The plan of one pod.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::commands) struct PlanView {
    /// `Pod namespace/name`, or the workload that creates the pod.
    object: String,
    /// The reason to refuse the pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    attachments: Vec<AttachmentView>,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentView {
    interface: String,
    network: String,
    /// The name inside the configuration, under which plugins keep their state.
    network_name: String,
    cni_version: String,
    /// The types, each with the type of its IPAM plugin.
    plugins: Vec<PluginView>,
    /// Each plugin gets those that it declares.
    capability_args: RawMap,
    /// The keys of `cni-args`.
    cni_args: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// The default routes that the attachment owns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    default_routes: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PluginView {
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: Option<String>,
}

impl PlanView {
    pub(in crate::commands) fn new(object: String, input: &PlanInput, plan: &Plan) -> Self {
        let attachments = plan.attachments.iter().enumerate();
        Self {
            object,
            error: None,
            attachments: attachments
                .map(|(index, attachment)| AttachmentView {
                    cni_args: cni_args(input, attachment),
                    default_routes: [
                        ("IPv4", plan.default_routes.v4),
                        ("IPv6", plan.default_routes.v6),
                    ]
                    .into_iter()
                    .filter_map(|(family, owner)| route(family, index, owner))
                    .collect(),
                    ..AttachmentView::new(attachment)
                })
                .collect(),
            warnings: plan
                .warnings
                .iter()
                .map(|warning| warning.text.clone())
                .collect(),
        }
    }

    pub(in crate::commands) fn refused(object: String, error: String) -> Self {
        Self {
            object,
            error: Some(error),
            attachments: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(in crate::commands) fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.object)?;
        self.print_content(out)
    }

    /// Prints the plan without its title.
    pub(in crate::commands) fn print_content(&self, out: &mut impl Write) -> io::Result<()> {
        if let Some(error) = &self.error {
            writeln!(out, "  refused: {error}")?;
        }
        for attachment in &self.attachments {
            attachment.print(out)?;
        }
        for warning in &self.warnings {
            writeln!(out, "  warning: {warning}")?;
        }
        Ok(())
    }
}

impl AttachmentView {
    fn new(attachment: &Attachment) -> Self {
        let config = &attachment.config;
        let plugins = config.plugins.iter();
        Self {
            interface: attachment.ifname.clone(),
            network: attachment.network.clone(),
            network_name: config.name.clone(),
            cni_version: config.cni_version.to_string(),
            plugins: plugins
                .map(|plugin| PluginView {
                    r#type: plugin.kind(),
                    ipam: plugin.ipam_type(),
                })
                .collect(),
            capability_args: attachment.capability_args.clone(),
            cni_args: Vec::new(),
            device: attachment.device_id.clone(),
            default_routes: Vec::new(),
        }
    }

    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        let plugins: Vec<_> = self
            .plugins
            .iter()
            .map(|plugin| match &plugin.ipam {
                Some(ipam) => format!("{} ({ipam})", plugin.r#type),
                None => plugin.r#type.clone(),
            })
            .collect();
        writeln!(
            out,
            "  {:15} {}: {}",
            self.interface,
            self.network,
            plugins.join(", ")
        )?;
        let mut detail = |text: String| writeln!(out, "  {:15}   {text}", "");
        let own_name = self.network.rsplit('/').next();
        if own_name != Some(&self.network_name) {
            detail(format!("network name: {}", self.network_name))?;
        }
        for (capability, value) in &self.capability_args {
            detail(format!("{capability}: {}", value.get()))?;
        }
        if !self.cni_args.is_empty() {
            detail(format!("cni-args: {}", self.cni_args.join(", ")))?;
        }
        if let Some(device) = &self.device {
            detail(format!("device: {device}"))?;
        }
        for route in &self.default_routes {
            detail(format!("default route: {route}"))?;
        }
        Ok(())
    }
}

fn route(family: &str, index: usize, owner: Option<RouteOwner>) -> Option<String> {
    let owner = owner.filter(|owner| owner.attachment == index)?;
    Some(match owner.gateway {
        Some(gateway) => format!("{family} through {gateway}"),
        None => format!("{family} through the gateway of its network"),
    })
}

/// The keys that the pod's element adds to `args.cni`.
fn cni_args(input: &PlanInput, attachment: &Attachment) -> Vec<String> {
    let selected = input.selected.iter().map(|selected| &selected.selection);
    let mut selections = selected.chain(&input.default_selection);
    let selection = selections.find(|selection| {
        let network = format!("{}/{}", selection.namespace, selection.name);
        network == attachment.network
            && selection
                .interface
                .as_ref()
                .is_none_or(|name| *name == attachment.ifname)
    });
    selection.map_or_else(Vec::new, |selection| {
        selection.cni_args.keys().cloned().collect()
    })
}
