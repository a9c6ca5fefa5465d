//! The rights of users for definitions.

use std::collections::BTreeSet;

use plexus_e2e::workspace::read;
use serde_json::{Value, json};

use crate::objects::{Objects, check_schema, documents};

/// The verbs that the roles which are aggregated into the cluster role `target` allow.
fn verbs(roles: &Objects, target: &str) -> BTreeSet<String> {
    let label = format!("rbac.authorization.k8s.io/aggregate-to-{target}");
    let aggregated = roles
        .0
        .iter()
        .filter(|role| role["metadata"]["labels"][&label] == "true");
    aggregated
        .flat_map(|role| role["rules"].as_array().expect("rules"))
        .flat_map(|rule| rule["verbs"].as_array().expect("verbs"))
        .map(|verb| verb.as_str().expect("a verb").to_owned())
        .collect()
}

#[test]
fn only_the_cluster_role_admin_may_write_definitions() {
    let roles = Objects(documents(&read("deploy/crd/roles.yaml")));
    roles.0.iter().for_each(check_schema);
    for rule in roles
        .0
        .iter()
        .flat_map(|role| role["rules"].as_array().expect("rules"))
    {
        let expected = (
            json!(["k8s.cni.cncf.io"]),
            json!(["network-attachment-definitions"]),
        );
        assert_eq!(
            (&rule["apiGroups"], &rule["resources"]),
            (&expected.0, &expected.1)
        );
        assert_eq!(rule.get("resourceNames"), None::<&Value>);
    }
    let read_only = ["get", "list", "watch"].map(str::to_owned).into();
    assert_eq!(verbs(&roles, "view"), read_only);
    assert_eq!(verbs(&roles, "edit"), read_only);
    let admin = verbs(&roles, "admin");
    assert!(admin.is_superset(&read_only));
    for verb in ["create", "update", "patch", "delete", "deletecollection"] {
        assert!(admin.contains(verb), "{verb}");
    }
}
