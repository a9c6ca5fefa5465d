use std::net::IpAddr;

use plexus_api::cni::Code;

use super::{open, sandbox::Sandbox};
use crate::netns::routes::DefaultRoute;
use crate::netns::{Family, Netns};

fn ip(text: &str) -> IpAddr {
    text.parse().expect(text)
}

fn default(ifname: &str, gateway: Option<IpAddr>) -> DefaultRoute {
    DefaultRoute {
        ifname: ifname.into(),
        gateway,
    }
}

/// `eth0` and `net1`, up, with an address of either family.
async fn two_links(sandbox: &Sandbox) -> Netns {
    sandbox
        .link_with("eth0", &["10.0.0.2/24", "fd00::2/64"])
        .await;
    sandbox
        .link_with("net1", &["10.1.0.2/24", "fd01::2/64"])
        .await;
    open(&sandbox.path()).await.expect("open")
}

#[tokio::test]
async fn a_gateway_takes_the_default_of_its_family_from_all_others() {
    plexus_api::rows!("K-041");
    let v6 = "::/0 via fd00::1 dev eth0";
    // Both orders: the owner's own default, where it has one, before and after that of the other link.
    for before in [
        &["default via 10.0.0.1 dev eth0"][..],
        &[
            "default via 10.0.0.1 dev eth0",
            "default via 10.1.0.9 dev net1 metric 9",
        ],
        &[
            "default via 10.1.0.9 dev net1",
            "default via 10.0.0.1 dev eth0 metric 9",
        ],
        &[
            "default via 10.1.0.1 dev net1 metric 9",
            "default via 10.0.0.1 dev eth0",
        ],
        &["default dev net1", "default dev eth0 metric 9"],
        &["default dev net1 scope global"],
        &[
            "default via 10.1.0.1 dev net1",
            "default dev net1 scope global",
            "default dev eth0 scope global",
        ],
        &[
            "default via 10.1.0.1 dev net1",
            "default via 10.1.0.9 dev net1",
        ],
        &["default dev eth0", "default dev net1 metric 9"],
        &[],
    ] {
        let Some(sandbox) = Sandbox::new() else {
            return;
        };
        let mut netns = two_links(&sandbox).await;
        for route in before.iter().chain([&"default6 via fd00::1 dev eth0"]) {
            sandbox.add(route).await;
        }
        netns
            .move_default_route(Family::V4, "net1", Some(ip("10.1.0.1")))
            .await
            .expect("move");
        let after: Vec<_> = sandbox
            .routes()
            .await
            .into_iter()
            .map(|route| route.trim_end_matches(" metric 9").to_owned())
            .collect();
        assert_eq!(after, ["0.0.0.0/0 via 10.1.0.1 dev net1", v6], "{before:?}");

        netns
            .move_default_route(Family::V4, "net1", Some(ip("10.1.0.1")))
            .await
            .expect("again");
        assert_eq!(
            netns.default_routes(Family::V4).await.expect("v4"),
            [default("net1", Some(ip("10.1.0.1")))]
        );
        assert_eq!(
            netns.default_routes(Family::V6).await.expect("v6"),
            [default("eth0", Some(ip("fd00::1")))]
        );
    }
}

#[tokio::test]
async fn the_other_family_likewise() {
    plexus_api::rows!("K-041");
    for (before, gateway) in [
        (&["default6 via fd00::1 dev eth0"][..], "fd01::1"),
        (
            &[
                "default6 via fe80::1 dev eth0",
                "default6 via fd01::9 dev net1 metric 9",
            ],
            "fe80::1",
        ),
        (
            &[
                "default6 via fd01::9 dev net1",
                "::/0 via fd00::1 dev eth0 metric 9",
            ],
            "fd01::1",
        ),
        (
            &["default6 dev eth0", "default6 dev net1 metric 9"],
            "fe80::1",
        ),
        (&[], "fd01::1"),
    ] {
        let Some(sandbox) = Sandbox::new() else {
            return;
        };
        let mut netns = two_links(&sandbox).await;
        for route in before.iter().chain([&"default via 10.0.0.1 dev eth0"]) {
            sandbox.add(route).await;
        }
        let expected = [
            "0.0.0.0/0 via 10.0.0.1 dev eth0".to_owned(),
            format!("::/0 via {gateway} dev net1"),
        ];
        for time in ["once", "twice"] {
            netns
                .move_default_route(Family::V6, "net1", Some(ip(gateway)))
                .await
                .expect(time);
            assert_eq!(sandbox.routes().await, expected, "{time}: {before:?}");
        }
    }
}

#[tokio::test]
async fn only_defaults_of_the_main_table_count_however_they_are_written() {
    plexus_api::rows!("K-042");
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut netns = two_links(&sandbox).await;
    for route in [
        "default via 10.0.0.1 dev eth0",
        "0.0.0.0/0 via 10.0.0.3 dev eth0 metric 5",
        "0.0.0.0/0 via 10.0.0.1 dev eth0 table 100",
        "0.0.0.0/1 via 10.0.0.1 dev eth0",
    ] {
        sandbox.add(route).await;
    }
    netns
        .move_default_route(Family::V4, "net1", Some(ip("10.1.0.1")))
        .await
        .expect("move");
    assert_eq!(
        sandbox.routes().await,
        [
            "0.0.0.0/0 via 10.0.0.1 dev eth0 table 100",
            "0.0.0.0/0 via 10.1.0.1 dev net1",
            "0.0.0.0/1 via 10.0.0.1 dev eth0",
        ]
    );
}

#[tokio::test]
async fn without_a_gateway_the_owner_keeps_what_it_has() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut netns = two_links(&sandbox).await;
    sandbox.add("default via 10.0.0.1 dev eth0").await;
    netns
        .move_default_route(Family::V4, "net1", None)
        .await
        .expect("nothing to keep");
    assert_eq!(sandbox.routes().await, ["0.0.0.0/0 via 10.0.0.1 dev eth0"]);

    sandbox.add("default via 10.1.0.1 dev net1 metric 7").await;
    sandbox.add("default6 via fd00::1 dev eth0").await;
    for time in ["once", "twice"] {
        netns
            .move_default_route(Family::V4, "net1", None)
            .await
            .expect(time);
        let expected = [
            "0.0.0.0/0 via 10.1.0.1 dev net1 metric 7",
            "::/0 via fd00::1 dev eth0",
        ];
        assert_eq!(sandbox.routes().await, expected, "{time}");
    }
}

#[tokio::test]
async fn a_default_over_several_links_goes_as_a_whole() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut netns = two_links(&sandbox).await;
    sandbox
        .add_multipath(&[("10.0.0.1", "eth0"), ("10.1.0.9", "net1")])
        .await;
    sandbox
        .add_multipath(&[("fd00::1", "eth0"), ("fd01::9", "net1")])
        .await;
    for (family, gateway, old) in [
        (Family::V4, "10.1.0.1", "10.0.0.1"),
        (Family::V6, "fd01::1", "fd00::1"),
    ] {
        let before = netns.default_routes(family).await.expect("list");
        assert!(
            before.contains(&default("eth0", Some(ip(old)))) && before.len() == 2,
            "{before:?}"
        );
        netns
            .move_default_route(family, "net1", Some(ip(gateway)))
            .await
            .expect("move");
        assert_eq!(
            netns.default_routes(family).await.expect("list"),
            [default("net1", Some(ip(gateway)))]
        );
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_an_error_and_changes_nothing() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut netns = two_links(&sandbox).await;
    sandbox.link("down", false).await;
    sandbox.add("default via 10.0.0.1 dev eth0").await;
    sandbox.add("default6 via fd00::1 dev eth0").await;
    let before = sandbox.routes().await;
    for (family, owner, gateway, why) in [
        (
            Family::V4,
            "net1",
            "10.9.9.9",
            "the gateway is in no subnet of net1",
        ),
        (
            Family::V4,
            "net1",
            "10.0.0.1",
            "the gateway is in no subnet of net1",
        ),
        (
            Family::V6,
            "net1",
            "fd09::9",
            "the gateway is in no subnet of net1",
        ),
        (
            Family::V4,
            "net1",
            "fd01::1",
            "the gateway is of the other family",
        ),
        (Family::V4, "down", "10.1.0.1", "or that link is down"),
        (Family::V4, "none", "10.1.0.1", "there is no link \"none\""),
    ] {
        let error = netns
            .move_default_route(family, owner, Some(ip(gateway)))
            .await
            .expect_err(why);
        assert!(
            error.is(Code::RouteFailed) && error.msg.contains(why),
            "{error}"
        );
        assert!(error.msg.contains(owner), "{error}");
    }
    assert_eq!(sandbox.routes().await, before);
}
