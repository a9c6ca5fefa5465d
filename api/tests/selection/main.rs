//! Valid and invalid forms of the networks annotation.

mod addresses;
mod capabilities;
mod forms;
mod items;
mod names;

use plexus_api::selection::{Selection, parse};

/// The elements of an annotation for a pod in `ns1`.
fn ok(annotation: &str) -> Vec<Selection> {
    parse(annotation, "ns1").unwrap_or_else(|error| panic!("{annotation}: {error}"))
}

/// An element in JSON form with these keys and a name.
fn element(keys: &str) -> Selection {
    let mut list = ok(&format!(r#"[{{"name": "a", {keys}}}]"#));
    assert_eq!(list.len(), 1);
    list.remove(0)
}

/// The location and the reason of an annotation's error.
fn wrong(annotation: &str) -> (String, String) {
    let error = parse(annotation, "ns1").expect_err(annotation);
    assert_eq!(
        error.to_string(),
        format!("{}: {}", error.location, error.reason)
    );
    assert!(!error.to_string().contains('\n'), "{error}");
    (error.location, error.reason)
}

/// Asserts that an element with these keys is refused at `location` and that the reason contains
/// `words`.
fn refused(keys: &str, location: &str, words: &[&str]) {
    let (found, reason) = wrong(&format!(r#"[{{"name": "a"}}, {{"name": "b", {keys}}}]"#));
    assert_eq!(found, format!("element 2, {location}"), "{keys}");
    for word in words {
        assert!(reason.contains(word), "{keys}: {reason:?} lacks {word:?}");
    }
}

/// Namespace, name and interface of each element, in the short form.
fn short(list: &[Selection]) -> Vec<String> {
    let one = |s: &Selection| {
        let interface = s
            .interface
            .as_ref()
            .map(|name| format!("@{name}"))
            .unwrap_or_default();
        format!("{}/{}{interface}", s.namespace, s.name)
    };
    list.iter().map(one).collect()
}
