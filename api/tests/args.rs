//! `CNI_ARGS`.

use plexus_api::cni::CniArgs;
use plexus_api::rows;
use proptest::prelude::*;

const PAIRS: [(&str, &str); 5] = [
    ("IgnoreUnknown", "1"),
    ("K8S_POD_NAMESPACE", "ns"),
    ("K8S_POD_NAME", "p.q-1"),
    ("K8S_POD_INFRA_CONTAINER_ID", "c1"),
    ("K8S_POD_UID", "0902664a-e9ce-48a6-abd6-def9809c0a84"),
];

/// Every order of `items`.
fn permutations(items: &[(&str, &str)]) -> Vec<Vec<String>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for index in 0..items.len() {
        let mut rest = items.to_vec();
        let (key, value) = rest.remove(index);
        for mut tail in permutations(&rest) {
            tail.push(format!("{key}={value}"));
            all.push(tail);
        }
    }
    all
}

fn pairs(args: &CniArgs) -> Vec<(&str, &str)> {
    args.iter().collect()
}

#[test]
fn order_is_irrelevant_but_case_matters() {
    rows!("C-02", "P-015");
    let all = permutations(&PAIRS);
    assert_eq!(all.len(), 120);
    for items in all {
        let args = CniArgs::parse(&items.join(";")).expect("well-formed");
        for (key, value) in PAIRS {
            assert_eq!(args.get(key), Some(value));
        }
        assert_eq!(args.get("k8s_pod_name"), None);
        assert_eq!(args.iter().count(), PAIRS.len());
    }
}

#[test]
fn empty_items_are_skipped_and_items_without_equals_refused() {
    rows!("P-016");
    for (text, expected) in [
        ("A=b=c", &[("A", "b=c")][..]),
        ("", &[]),
        ("A=b;", &[("A", "b")]),
        (";;A=b;;B=c", &[("A", "b"), ("B", "c")]),
        ("A=", &[("A", "")]),
    ] {
        assert_eq!(
            pairs(&CniArgs::parse(text).expect(text)),
            expected,
            "{text}"
        );
        assert_eq!(pairs(&CniArgs::parse_lossy(text)), expected, "{text}");
    }
    for text in ["x", "A=b;x;B=c", "x;A=b;B=c"] {
        let error = CniArgs::parse(text).expect_err(text);
        assert_eq!(error.code, 4);
        assert!(error.msg.contains("CNI_ARGS item \"x\""), "{error}");
    }
    // DEL skips invalid items.
    assert_eq!(
        pairs(&CniArgs::parse_lossy("A=b;x;B=c")),
        [("A", "b"), ("B", "c")]
    );
    assert_eq!(pairs(&CniArgs::parse_lossy("x")), []);
}

#[test]
fn unknown_keys_of_cni_args_are_passed_on() {
    rows!("P-017");
    for ignore in ["1", "true", "True", "0", "false", "False"] {
        let text = format!("IgnoreUnknown={ignore};FOO=bar;K8S_POD_NAME=p");
        let args = CniArgs::parse(&text).expect("well-formed");
        assert_eq!(args.get("FOO"), Some("bar"));
        assert_eq!(args.get("IgnoreUnknown"), Some(ignore));
        assert_eq!(args.to_string(), text);
    }
}

#[test]
fn the_last_value_wins_and_an_empty_one_counts_as_missing() {
    let mut args = CniArgs::parse("A=1;B=2;A=3;C=").expect("well-formed");
    assert_eq!(
        (args.get("A"), args.get("C"), args.get("D")),
        (Some("3"), None, None)
    );
    args.set("A", "4");
    args.set("D", "5");
    assert_eq!(args.to_string(), "B=2;C=;A=4;D=5");
    assert_eq!(CniArgs::default().to_string(), "");
}

proptest! {
    #[test]
    fn printed_args_parse_to_the_same_items(text in "([A-C=;]|.){0,12}") {
        let lossy = CniArgs::parse_lossy(&text);
        prop_assert_eq!(CniArgs::parse(&lossy.to_string()), Ok(lossy.clone()));
        if let Ok(args) = CniArgs::parse(&text) {
            prop_assert_eq!(args, lossy);
        }
    }
}
