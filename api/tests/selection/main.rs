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

/// The place and the reason of an annotation's error.
fn wrong(annotation: &str) -> (String, String) {
    let error = parse(annotation, "ns1").expect_err(annotation);
    assert_eq!(error.to_string(), format!("{}: {}", error.place, error.why));
    assert!(!error.to_string().contains('\n'), "{error}");
    (error.place, error.why)
}

/// Asserts that an element with these keys is refused at `place` and that the reason contains
/// `words`.
fn refused(keys: &str, place: &str, words: &[&str]) {
    let (found, why) = wrong(&format!(r#"[{{"name": "a"}}, {{"name": "b", {keys}}}]"#));
    assert_eq!(found, format!("element 2, {place}"), "{keys}");
    for word in words {
        assert!(why.contains(word), "{keys}: {why:?} lacks {word:?}");
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
