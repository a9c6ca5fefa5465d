use std::net::IpAddr;

use plexus_api::cni::Code;
use plexus_api::rows;

use super::{input, macvlan, plan};
use crate::model::{DefaultRoutes, RouteOwner};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn a_pod_has_one_gateway_of_each_family() {
    rows!("K-040");
    let routes = |lists: &[Option<&[&str]>]| {
        let mut input = input();
        for list in lists {
            macvlan(&mut input, |s| {
                s.default_route = list.map(|list| list.iter().map(|g| ip(g)).collect());
            });
        }
        plan(&input).map(|plan| plan.default_routes)
    };
    let owner = |attachment, gateway: &str| {
        Some(RouteOwner {
            attachment,
            gateway: Some(ip(gateway)),
        })
    };
    let empty_list = |attachment| {
        Some(RouteOwner {
            attachment,
            gateway: None,
        })
    };
    assert_eq!(routes(&[None, None]), Ok(DefaultRoutes::default()));
    assert_eq!(
        routes(&[None, Some(&["10.0.0.1"])]),
        Ok(DefaultRoutes {
            v4: owner(2, "10.0.0.1"),
            v6: None
        })
    );
    assert_eq!(
        routes(&[Some(&["10.0.0.1"]), Some(&["fd00::1"])]),
        Ok(DefaultRoutes {
            v4: owner(1, "10.0.0.1"),
            v6: owner(2, "fd00::1")
        })
    );
    assert_eq!(
        routes(&[Some(&[])]),
        Ok(DefaultRoutes {
            v4: empty_list(1),
            v6: empty_list(1)
        })
    );
    assert_eq!(
        routes(&[Some(&["10.0.0.1"]), Some(&[])]),
        Ok(DefaultRoutes {
            v4: owner(1, "10.0.0.1"),
            v6: empty_list(2)
        })
    );
    for invalid in [
        &[Some(&["10.0.0.1", "10.0.0.2"][..])][..],
        &[Some(&["fd00::1"][..]), Some(&["fd00::2"][..])],
        &[Some(&[][..]), Some(&[][..])],
    ] {
        let error = routes(invalid).expect_err("two owners");
        assert!(
            error.is(Code::InvalidAnnotation) && error.msg.contains("default-route"),
            "{error}"
        );
    }
}
