//! What objects do to each other. Only objects in files of one directory are compared, because those
//! are applied together: a repository may have the same object for several clusters.

use std::collections::BTreeMap;

use super::definitions::Checked;
use super::finding::{Findings, Reporter, Rule, Severity};
use super::ipam::{Range, host_local_ranges};
use super::source::Source;
use crate::cluster::Definition;
use crate::cluster::manifests::{Kind, Object};

/// Reports pods and definitions that are present twice.
pub(super) fn check_duplicates(findings: &mut Findings, objects: &[(&Source, Object)]) {
    let mut seen: BTreeMap<_, (&Source, &Object)> = BTreeMap::new();
    for (source, object) in objects {
        let kind = match object.kind {
            Kind::Pod => "Pod",
            Kind::Definition => "NetworkAttachmentDefinition",
            _ => continue,
        };
        let metadata = &object.value["metadata"];
        let Some(name) = metadata["name"].as_str() else {
            continue;
        };
        let namespace = metadata["namespace"].as_str().unwrap_or("default");
        let key = (source.directory(), kind, namespace, name);
        if let Some((earlier, first)) = seen.insert(key, (source, object)) {
            let name_path = ["metadata".into(), "name".into()];
            let line = earlier.value(first.document, &first.path(&name_path)).line;
            let position = source.value(object.document, &object.path(&name_path));
            let text = format!(
                "{kind} {namespace}/{name}: is already in {} line {line}, and only the last one counts; remove one or \
                 rename it",
                earlier.name
            );
            let kind = (Severity::Error, Rule::Duplicate);
            findings.add(kind, &source.name, position, text);
        }
    }
}

/// Reports networks that would assign the same address twice, and namespaces that share leases.
pub(super) fn check_addresses(findings: &mut Findings, definitions: &[Checked<'_>]) {
    let with_ranges: Vec<_> = definitions
        .iter()
        .filter_map(|checked| {
            let config = checked.config.as_ref()?;
            let ranges = host_local_ranges(config);
            (!ranges.is_empty()).then_some((checked, config.name.as_str(), ranges))
        })
        .collect();
    for (index, (checked, name, ranges)) in with_ranges.iter().enumerate() {
        for (other, other_name, other_ranges) in &with_ranges[..index] {
            let (own, theirs) = (&checked.definition, &other.definition);
            if checked.source.directory() != other.source.directory()
                || (&own.namespace, &own.name) == (&theirs.namespace, &theirs.name)
            {
                continue;
            }
            if own.namespace == theirs.namespace && name != other_name {
                check_overlap(findings, checked, ranges, other, other_ranges);
            } else if own.namespace != theirs.namespace
                && name == other_name
                && ranges != other_ranges
            {
                report_shared_name(findings, checked, name, other);
            }
        }
    }
}

/// The definitions that a pod in `source` would be applied with: those in the same directory, and
/// those that only one file of another directory has.
pub(super) fn known_to(source: &Source, definitions: &[Checked<'_>]) -> Vec<Definition> {
    let name = |checked: &Checked<'_>| {
        let definition = &checked.definition;
        (definition.namespace.clone(), definition.name.clone())
    };
    let mut named: BTreeMap<_, Vec<&Checked<'_>>> = BTreeMap::new();
    for checked in definitions {
        named.entry(name(checked)).or_default().push(checked);
    }
    let known = named.into_values().filter_map(|candidates| {
        let mut beside = candidates.iter().rev();
        let beside = beside.find(|found| found.source.directory() == source.directory());
        match (beside, candidates.as_slice()) {
            (Some(found), _) | (None, [found]) => Some(found.definition.clone()),
            _ => None,
        }
    });
    known.collect()
}

fn check_overlap(
    findings: &mut Findings,
    checked: &Checked<'_>,
    ranges: &[Range],
    other: &Checked<'_>,
    other_ranges: &[Range],
) {
    let overlap = ranges.iter().find_map(|range| {
        let found = other_ranges.iter().find(|other| other.overlaps(range))?;
        Some((range, found))
    });
    let Some((range, found)) = overlap else {
        return;
    };
    let text = format!(
        "its addresses {range} overlap with {found} of {}, and host-local keeps the leases of each network apart, so \
         two pods can get the same address; use separate ranges",
        other.definition.name
    );
    report(findings, checked, Rule::IpOverlap, "ipam", &text);
}

fn report_shared_name(
    findings: &mut Findings,
    checked: &Checked<'_>,
    name: &str,
    other: &Checked<'_>,
) {
    let text = format!(
        "its network name {name:?} is also that of {}/{} with other addresses, and host-local keeps its leases by this \
         name; set another \"name\" in one of the configurations",
        other.definition.namespace, other.definition.name
    );
    report(findings, checked, Rule::SharedName, "name", &text);
}

fn report(findings: &mut Findings, checked: &Checked<'_>, rule: Rule, key: &str, text: &str) {
    let (label, embedded) = (checked.label(), checked.text());
    let position = match key {
        "ipam" => {
            let nested = ["plugins".into(), 0.into(), "ipam".into()];
            let has_list = super::json_text::value(embedded.text, &["plugins".into()]).is_some();
            embedded.value(if has_list { &nested } else { &nested[2..] })
        }
        key => embedded.value(&[key.into()]),
    };
    let mut reporter = Reporter {
        findings,
        text: &embedded,
        label: &label,
    };
    reporter.warning(rule, position, text);
}
