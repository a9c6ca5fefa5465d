use std::net::IpAddr;

use plexus_api::cni::{CniError, Code};

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

/// Links `eth0` and `net1`, up, each with an address of both families.
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
async fn a_gateway_replaces_all_ipv4_default_routes() {
    plexus_api::rows!("K-041");
    let v6 = "::/0 via fd00::1 dev eth0";
    // The link's own default route, if it has one, comes before and after that of the other link.
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
async fn a_gateway_replaces_all_ipv6_default_routes() {
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
async fn only_default_routes_of_the_main_table_move_in_any_notation() {
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
async fn without_a_gateway_the_link_keeps_its_default_routes() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut netns = two_links(&sandbox).await;
    sandbox.add("default via 10.0.0.1 dev eth0").await;
    netns
        .move_default_route(Family::V4, "net1", None)
        .await
        .expect("net1 has no default route to keep");
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
async fn a_multipath_default_route_is_replaced_as_a_whole() {
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
async fn a_failed_move_changes_nothing() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut netns = two_links(&sandbox).await;
    sandbox.link("down", false).await;
    sandbox.add("default via 10.0.0.1 dev eth0").await;
    sandbox.add("default6 via fd00::1 dev eth0").await;
    let before = sandbox.routes().await;
    for (family, link, gateway, reason) in [
        (
            Family::V4,
            "net1",
            "10.9.9.9",
            "is in no subnet of the link",
        ),
        (
            Family::V4,
            "net1",
            "10.0.0.1",
            "is in no subnet of the link",
        ),
        (Family::V6, "net1", "fd09::9", "is in no subnet of the link"),
        (
            Family::V4,
            "net1",
            "fd01::1",
            "gateway fd01::1 is an address of the other family",
        ),
        (Family::V4, "down", "10.1.0.1", "or the link is down"),
        (
            Family::V4,
            "none",
            "10.1.0.1",
            "the sandbox has no such link",
        ),
    ] {
        let error = netns
            .move_default_route(family, link, Some(ip(gateway)))
            .await
            .map_err(CniError::from)
            .expect_err(reason);
        assert!(
            error.is(Code::RouteFailed) && error.msg.contains(reason),
            "{error}"
        );
        assert!(error.msg.contains(link), "{error}");
    }
    assert_eq!(sandbox.routes().await, before);
}
