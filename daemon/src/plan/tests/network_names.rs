use std::sync::Arc;

use plexus_api::cni::Code;
use plexus_api::selection::Selection;

use super::{assert_refused, input, network, plan, select};
use crate::plan::{NamedDefinition, NetworkNames, PlanInput};

/// The input for a pod that selects `ns/mine`, whose network has this name, while `others` exist:
/// their labels, network names and creation times.
fn selecting(name: &str, created: Option<i64>, others: &[(&str, &str, Option<i64>)]) -> PlanInput {
    let mut input = input();
    select(
        &mut input,
        "ns/mine",
        &format!(r#"{{"name":"{name}","type":"x"}}"#),
        |_| {},
    );
    let this = [("ns/mine", name, created)];
    let definitions = this.iter().chain(others);
    input.network_names = Some(NetworkNames {
        of_node: vec![Arc::new(network(
            "cluster",
            r#"{"name":"pods","type":"x"}"#,
        ))],
        trusted_namespace: "kube-system".to_owned(),
        definitions: definitions
            .map(|(label, network, created)| {
                let (namespace, name) = label.split_once('/').expect("namespace/name");
                NamedDefinition {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                    network: (*network).to_owned(),
                    created: *created,
                }
            })
            .collect(),
    });
    input
}

#[test]
fn a_definition_cannot_take_the_network_name_of_the_node() {
    let input = selecting("pods", None, &[]);
    assert_refused(
        &input,
        Code::Forbidden,
        &["ns/mine", "\"pods\"", "\"cluster\"", "name"],
    );
    assert!(plan(&selecting("other", None, &[])).is_ok());
    let mut not_isolated = input.clone();
    not_isolated.network_names = None;
    assert!(plan(&not_isolated).is_ok());
    // The administrator's own definitions may.
    let mut trusted = input.clone();
    trusted.selected.clear();
    select(
        &mut trusted,
        "kube-system/x",
        r#"{"name":"pods","type":"x"}"#,
        |_| {},
    );
    assert!(plan(&trusted).is_ok());
    // A definition that is the default network may be selected, too.
    let mut same = input.clone();
    if let Some(names) = &mut same.network_names {
        names.of_node = vec![Arc::new(same.selected[0].network.clone())];
    }
    assert!(plan(&same).is_ok());
    let mut replaced = input;
    replaced.default_network = replaced.selected.remove(0).network;
    replaced.default_selection = Some(Selection::default());
    assert_refused(&replaced, Code::Forbidden, &["ns/mine", "\"pods\""]);
}

#[test]
fn a_definition_cannot_take_the_network_name_of_another_namespace() {
    for (name, created, other, allowed) in [
        // The other one is older.
        ("a", Some(2), ("other/a", "a", Some(1)), false),
        ("a", Some(2), ("other/x", "a", Some(1)), false),
        ("mine", Some(2), ("other/x", "mine", Some(1)), false),
        // This one is older.
        ("a", Some(1), ("other/a", "a", Some(2)), true),
        ("mine", Some(1), ("other/x", "mine", Some(2)), true),
        // Without times, the definition of that name has the right to the name.
        ("a", None, ("other/a", "a", None), false),
        ("mine", None, ("other/x", "mine", None), true),
        // Copies of a definition.
        ("mine", Some(2), ("other/mine", "mine", Some(1)), true),
        // An administrator's definition has the right to its name at any age.
        ("a", Some(1), ("kube-system/x", "a", Some(2)), false),
        // The same namespace, and another name.
        ("a", Some(2), ("ns/a", "a", Some(1)), true),
        ("a", Some(2), ("other/a", "b", Some(1)), true),
    ] {
        let input = selecting(name, created, &[other]);
        assert_eq!(
            plan(&input).is_ok(),
            allowed,
            "{name} {created:?} {other:?}"
        );
        if !allowed {
            assert_refused(&input, Code::Forbidden, &["ns/mine", other.0, name]);
        }
    }
}

#[test]
fn a_definition_that_is_not_in_the_store_is_the_youngest() {
    let mut input = selecting("a", None, &[("other/x", "a", Some(5))]);
    if let Some(names) = &mut input.network_names {
        names.definitions.remove(0);
    }
    assert_refused(&input, Code::Forbidden, &["ns/mine", "other/x"]);
}
