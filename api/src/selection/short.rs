//! The short form: items `[namespace/]name[@interface]`, separated by commas.

use super::syntax::shown;
use super::{Selection, SelectionError};
use crate::cni::validate_ifname;
use crate::dns::{LABEL, is_label, is_namespace, is_subdomain};

pub(super) fn list(text: &str) -> Result<Vec<Selection>, SelectionError> {
    let item = |(index, item): (usize, &str)| {
        let item = item.trim();
        element(item).map_err(|why| {
            SelectionError::new(format!("item {} {:?}", index + 1, shown(item)), why)
        })
    };
    text.split(',').enumerate().map(item).collect()
}

/// One item (K-021…K-023). White space around its parts does not count, and a part that is left empty before `/` or
/// after `@` counts as not given, as with Multus.
fn element(item: &str) -> Result<Selection, String> {
    if item.is_empty() {
        return Err("is empty; there is a comma too many".into());
    }
    let (path, interface) = item.split_once('@').unwrap_or((item, ""));
    let (namespace, name) = path.split_once('/').unwrap_or(("", path));
    let (namespace, name, interface) = (namespace.trim(), name.trim(), interface.trim());
    if name.contains('/') || interface.contains('@') {
        return Err(
            "has more than one '/' or '@'; an item is name, namespace/name or name@interface"
                .into(),
        );
    }
    if !namespace.is_empty() && !is_namespace(namespace) {
        return Err(format!(
            "the namespace {:?} must be {LABEL}, at most 63",
            shown(namespace)
        ));
    }
    if name.contains('.') && is_subdomain(name) {
        return Err(format!(
            "a name with '.' needs the JSON form, as [{{\"name\": {:?}}}]",
            shown(name)
        ));
    }
    if !is_label(name) || !is_subdomain(name) {
        return Err(format!(
            "the name {:?} must be {LABEL}, at most 253",
            shown(name)
        ));
    }
    if !interface.is_empty() {
        validate_ifname(interface).map_err(|error| error.msg)?;
    }
    Ok(Selection {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        interface: (!interface.is_empty()).then(|| interface.to_owned()),
        ..Selection::default()
    })
}
