//! What a running pod gains and loses.

use plexus_api::selection;

use super::*;
use crate::model::{Attachment, Origin};
use crate::plan::{Difference, free_ifnames, plan_addition};

/// The attachments that the ADD of a pod with this annotation makes.
fn attached(annotation: &str) -> Vec<Attachment> {
    let mut input = input();
    for selection in selection::parse(annotation, "ns").expect("an annotation") {
        let name = format!("{}/{}", selection.namespace, selection.name);
        select(&mut input, &name, r#"{"type":"macvlan"}"#, |element| {
            *element = selection.clone();
        });
    }
    plan(&input).expect("allowed").attachments
}

/// Which interfaces are detached, which elements are attached, and which interfaces have other
/// parameters, if `before` becomes `after`.
fn change(before: &str, after: &str) -> (Vec<String>, Vec<usize>, Vec<String>) {
    let attachments = attached(before);
    let elements = selection::parse(after, "ns").expect("an annotation");
    let difference = Difference::of(attachments.iter().enumerate(), &elements);
    let names = |indexes: Vec<usize>| {
        let names = indexes
            .into_iter()
            .map(|index| attachments[index].ifname.clone());
        names.collect()
    };
    assert_eq!(
        difference.is_empty(),
        difference.detach.is_empty() && difference.attach.is_empty()
    );
    (
        names(difference.detach),
        difference.attach,
        names(difference.changed),
    )
}

#[test]
fn elements_match_attachments_of_the_same_network_and_requested_name() {
    let with_mac = r#"[{"name":"a","mac":"02:00:00:00:00:01"}]"#;
    let other_mac = r#"[{"name":"a","mac":"02:00:00:00:00:02"}]"#;
    for (before, after, detach, attach, changed) in [
        ("a,b", "a,b", &[][..], &[][..], &[][..]),
        ("a,b", "b,a", &[], &[], &[]),
        ("a,b", "b", &["net1"], &[], &[]),
        ("a", "", &["net1"], &[], &[]),
        ("", "a,b@x", &[], &[0, 1], &[]),
        ("a", "c,a,b", &[], &[0, 2], &[]),
        // The later one of two equal elements goes.
        ("a,a", "a", &["net2"], &[], &[]),
        ("a@x,a", "a", &["x"], &[], &[]),
        ("a@x,a", "a@x", &["net2"], &[], &[]),
        ("a@x", "a", &["x"], &[0], &[]),
        ("a@x", "a@y", &["x"], &[0], &[]),
        // The requested name is the one that the interface has.
        ("a", "a@net1", &[], &[], &[]),
        ("a", "a,a@net1", &[], &[0], &[]),
        ("a", "other/a", &["net1"], &[0], &[]),
        (with_mac, with_mac, &[], &[], &[]),
        (with_mac, other_mac, &[], &[], &["net1"]),
        (with_mac, "a", &[], &[], &["net1"]),
    ] {
        let expected = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(
            change(before, after),
            (expected(detach), attach.to_vec(), expected(changed)),
            "{before:?} becomes {after:?}"
        );
    }
}

#[test]
fn only_attachments_of_the_annotation_follow_it() {
    let mut attachments = attached("a,b,c");
    attachments[1].origin = Origin::Delegate;
    attachments[2].selected = false;
    // An older plexusd records no digest.
    attachments[3].parameters_digest = None;
    let elements = selection::parse(r#"[{"name":"c","ips":["10.0.0.1"]}]"#, "ns");
    let elements = elements.expect("an annotation");
    let difference = Difference::of(attachments.iter().enumerate(), &elements);
    assert_eq!(difference, Difference::default());
    // What a program has attached counts for an element that asks for it.
    let mut attachments = attached("a@x");
    attachments[1].origin = Origin::Delegate;
    let elements = selection::parse("a@x", "ns").expect("an annotation");
    let difference = Difference::of(attachments.iter().enumerate(), &elements);
    assert_eq!(difference, Difference::default());
}

#[test]
fn elements_without_a_name_get_the_lowest_free_one() {
    let elements = selection::parse("a,b@net2,c,d@x,e", "ns").expect("an annotation");
    let taken = ["eth0", "net1", "net4"];
    let names = free_ifnames(elements.iter(), |name| taken.contains(&name));
    assert_eq!(names, ["net3", "net2", "net5", "x", "net6"]);
}

/// The input of the plan of one further network.
fn addition(name: &str, change: impl FnOnce(&mut Selection)) -> PlanInput {
    let mut addition = input();
    select(&mut addition, name, r#"{"type":"macvlan"}"#, change);
    let SelectedNetwork { selection, network } = addition.selected.remove(0);
    PlanInput {
        ifname: "net7".to_owned(),
        default_network: network,
        default_selection: Some(selection),
        ..addition
    }
}

#[test]
fn an_addition_is_planned_as_a_selected_network() {
    let (attachment, warnings) = plan_addition(&addition("ns/a", |_| {}), &[]).expect("allowed");
    assert_eq!(
        (attachment.network.as_str(), attachment.ifname.as_str()),
        ("ns/a", "net7")
    );
    assert!(attachment.selected && !attachment.default);
    assert_eq!((attachment.origin, warnings.len()), (Origin::Annotation, 0));
}

#[test]
fn an_addition_is_refused_for_the_reasons_of_an_add_and_for_the_default_route() {
    let assert_refused = |input: &PlanInput, attached: &[&Attachment], code, part: &str| {
        let error = plan_addition(input, attached).expect_err("refused");
        assert!(error.is(code) && error.msg.contains(part), "{error}");
        assert!(error.msg.contains("net7"), "{error}");
    };
    let route = addition("ns/a", |element| {
        element.default_route = Some(vec!["10.0.0.1".parse().expect("an address")]);
    });
    assert_refused(&route, &[], Code::InvalidAnnotation, "default-route");
    let others = attached(&vec!["a"; 64].join(","));
    let others: Vec<_> = others.iter().collect();
    let usual = addition("ns/a", |_| {});
    assert_refused(&usual, &others, Code::InvalidAnnotation, "64 networks");
    plan_addition(&usual, &others[..64]).expect("one more is allowed");
    let config = format!(r#"{{"type":"macvlan","note":{:?}}}"#, "x".repeat(1 << 20));
    let mut large = attached("a,b,c,d,e,f,g,h");
    for attachment in &mut large {
        attachment.config = network("ns/a", &config).config;
    }
    let large: Vec<_> = large.iter().collect();
    let error = plan_addition(&usual, &large).expect_err("refused");
    assert!(error.is(Code::InvalidAnnotation), "{error}");
    assert!(error.msg.contains("may have 8 MiB"), "{error}");
    plan_addition(&usual, &large[..7]).expect("below the limit");
    let mut taken = addition("ns/a", |_| {});
    taken.links.insert("net7".to_owned());
    assert_refused(&taken, &[], Code::InterfaceTaken, "taken");
    let mut isolated = addition("other/a", |_| {});
    isolated.policy.namespace_isolation = true;
    assert_refused(&isolated, &[], Code::Forbidden, "isolation");
}
