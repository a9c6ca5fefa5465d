//! The short form: items `[namespace/]name[@interface]`, separated by commas.

use super::{Selection, SelectionError, check_count};
use crate::cni::validate_ifname;
use crate::dns::{LABEL, is_label, is_namespace, is_subdomain};
use crate::json::ValuePath;
use crate::quote;

pub(super) fn parse(text: &str) -> Result<Vec<Selection>, SelectionError> {
    check_count(text.split(',').count())?;
    text.split(',')
        .map(str::trim)
        .enumerate()
        .map(|(index, item)| {
            element(item).map_err(|reason| SelectionError {
                location: format!("item {} {}", index + 1, quote(item)),
                reason,
                path: ValuePath::default().join(index),
            })
        })
        .collect()
}

/// One item (K-021…K-023). As with Multus, white space around the parts is ignored, and so are an
/// empty part before `/` and an empty part after `@`.
fn element(item: &str) -> Result<Selection, String> {
    if item.is_empty() {
        return Err("is empty; remove the extra comma".into());
    }
    let (path, interface) = item.split_once('@').unwrap_or((item, ""));
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    let (namespace, name, interface) = (namespace.trim(), name.trim(), interface.trim());
    if name.contains('/') || interface.contains('@') {
        return Err(
            "has more than one '/' or '@'; use name, namespace/name or name@interface".into(),
        );
    }
    if !namespace.is_empty() && !is_namespace(namespace) {
        return Err(format!(
            "the namespace {} must be {LABEL}, at most 63 characters",
            quote(namespace)
        ));
    }
    if name.contains('.') && is_subdomain(name) {
        return Err(format!(
            "a name with '.' needs the JSON form, such as [{{\"name\": {}}}]",
            quote(name)
        ));
    }
    if !is_label(name) || !is_subdomain(name) {
        return Err(format!(
            "the name {} must be {LABEL}, at most 253 characters",
            quote(name)
        ));
    }
    if !interface.is_empty() {
        validate_ifname(interface).map_err(|error| error.to_string())?;
    }
    Ok(Selection {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        interface: (!interface.is_empty()).then(|| interface.to_owned()),
        ..Selection::default()
    })
}
