//! `plexusd plan`: what pods would get, from files alone.

mod view;

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use plexus_api::cni::CniError;

use super::table;
use crate::cli::{PlanArgs, TableFormat};
use crate::cluster::Definition;
use crate::cluster::manifests::{Kind, PodTemplate, definition, objects};
use crate::config::{Fields, Settings};
use crate::gather::Offline;
use crate::plan::plan;
pub(super) use view::PlanView;

/// The name of standard input on the command line.
const STDIN: &str = "-";

/// Prints the plans of all pods in files.
///
/// # Errors
/// A file cannot be read, has no pod, or a pod would be refused.
pub fn run(args: &PlanArgs) -> anyhow::Result<()> {
    let settings = settings(args)?;
    let (mut definitions, mut pods) = (Vec::new(), Vec::new());
    for path in &args.files {
        let text = if path == Path::new(STDIN) {
            io::read_to_string(io::stdin().lock())
        } else {
            fs::read_to_string(path)
        };
        let name = || path.display().to_string();
        read(&text.with_context(name)?, &mut definitions, &mut pods).with_context(name)?;
    }
    if pods.is_empty() {
        bail!("the files have no pod and no pod template");
    }
    let offline = Offline {
        settings: &settings,
        definitions: &definitions,
        is_tolerant: false,
    };
    let views: Vec<_> = pods.iter().map(|pod| view(pod, offline)).collect();
    let out = &mut io::stdout().lock();
    match args.output {
        TableFormat::Json => table::print_json(&views, out)?,
        TableFormat::Text => views.iter().try_for_each(|view| view.print(out))?,
    }
    let refused = views.iter().filter(|view| view.error.is_some()).count();
    if refused > 0 {
        bail!("{refused} of {} pods would be refused", views.len());
    }
    Ok(())
}

fn settings(args: &PlanArgs) -> anyhow::Result<Settings> {
    let mut fields = Fields::default();
    for path in &args.config {
        let name = || path.display().to_string();
        let text = fs::read_to_string(path).with_context(name)?;
        fields = fields.overlaid_by(&Fields::parse(&text).with_context(name)?);
    }
    Ok(Settings::read(&fields)?)
}

/// Adds the objects in a file.
fn read(
    text: &str,
    definitions: &mut Vec<Definition>,
    pods: &mut Vec<PodTemplate>,
) -> anyhow::Result<()> {
    for object in objects(text)? {
        match object.kind {
            Kind::Definition => definitions.push(definition(object.value).map_err(|e| anyhow!(e))?),
            _ => pods.extend(PodTemplate::of(&object)),
        }
    }
    Ok(())
}

fn view(pod: &PodTemplate, offline: Offline<'_>) -> PlanView {
    let planned = offline
        .plan_input(&pod.pod)
        .map_err(|error| CniError::from(error).msg)
        .and_then(|input| {
            let plan = plan(&input).map_err(|error| error.msg)?;
            Ok((input, plan))
        });
    match planned {
        Ok((input, plan)) => PlanView::new(pod.label(), &input, &plan),
        Err(error) => PlanView::refused(pod.label(), error),
    }
}

#[cfg(test)]
mod tests;
