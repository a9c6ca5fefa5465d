//! A network namespace for one test, with links and routes.

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use futures_util::{StreamExt as _, TryStreamExt as _};
use ipnet::IpNet;
use nix::sched::{CloneFlags, setns, unshare};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteNextHop, RouteScope, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};

pub(super) struct Sandbox {
    namespace: File,
    handle: Handle,
}

impl Sandbox {
    /// Creates the namespace in a short-lived thread, so that the test's threads stay in theirs.
    /// Prints the error and returns `None` if the namespace cannot be created.
    pub(super) fn new() -> Option<Self> {
        let runtime = tokio::runtime::Handle::current();
        let created = std::thread::spawn(move || {
            let _runtime = runtime.enter();
            unshare(CloneFlags::CLONE_NEWNET)?;
            Ok::<_, io::Error>((
                File::open("/proc/thread-self/ns/net")?,
                rtnetlink::new_connection()?,
            ))
        });
        match created.join().expect("no panic") {
            Ok((namespace, (connection, handle, _))) => {
                tokio::spawn(connection);
                Some(Self { namespace, handle })
            }
            Err(error) => {
                eprintln!("skipped: cannot create a network namespace: {error}");
                None
            }
        }
    }

    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.namespace.as_raw_fd()).into()
    }

    pub(super) fn inode(&self) -> u64 {
        self.namespace.metadata().expect("metadata").ino()
    }

    /// Runs `run` in the namespace, in a new thread.
    pub(super) fn inside<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.namespace, CloneFlags::CLONE_NEWNET).expect("enter");
            run()
        };
        std::thread::scope(|scope| scope.spawn(inside).join().expect("no panic"))
    }

    /// Creates a veth pair. The peer is up.
    pub(super) async fn link(&self, name: &str, up: bool) {
        let peer = format!("p-{name}");
        self.handle
            .link()
            .add(LinkVeth::new(name, &peer).build())
            .execute()
            .await
            .expect(name);
        for end in [Some(&*peer), up.then_some(name)].into_iter().flatten() {
            self.handle
                .link()
                .set(LinkUnspec::new_with_name(end).up().build())
                .execute()
                .await
                .expect(end);
        }
    }

    /// Creates a link that is up, with these addresses.
    pub(super) async fn link_with(&self, name: &str, addresses: &[&str]) {
        self.link(name, true).await;
        let index = self.index(name).await;
        for address in addresses {
            let net: IpNet = address.parse().expect(address);
            self.handle
                .address()
                .add(index, net.addr(), net.prefix_len())
                .execute()
                .await
                .expect(address);
        }
    }

    async fn index(&self, name: &str) -> u32 {
        let found = self
            .handle
            .link()
            .get()
            .match_name(name)
            .execute()
            .try_next()
            .await
            .expect(name);
        found.expect(name).header.index
    }

    /// Appends a route in the syntax of `ip route`, such as
    /// `0.0.0.0/0 via 10.0.0.1 dev eth0 metric 5`. `default` and `default6` have no destination
    /// attribute.
    pub(super) async fn add(&self, route: &str) {
        let words: Vec<_> = route.split(' ').collect();
        let value = |key: &str| {
            words
                .iter()
                .position(|word| *word == key)
                .map(|at| words[at + 1])
        };
        let mut message = match words[0] {
            "default" | "default6" => RouteMessageBuilder::<IpAddr>::new().build(),
            net => {
                let net: IpNet = net.parse().expect(net);
                RouteMessageBuilder::<IpAddr>::new()
                    .destination_prefix(net.addr(), net.prefix_len())
                    .expect("prefix")
                    .build()
            }
        };
        let v6 = words[0] == "default6" || words[0].contains(':');
        message.header.address_family = if v6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        message.attributes.push(RouteAttribute::Oif(
            self.index(value("dev").expect("dev")).await,
        ));
        match value("via") {
            Some(gateway) => message
                .attributes
                .push(RouteAttribute::Gateway(address(gateway))),
            None if value("scope") == Some("global") => {}
            None => message.header.scope = RouteScope::Link,
        }
        if let Some(table) = value("table") {
            message.header.table = table.parse().expect("table");
        }
        if let Some(metric) = value("metric") {
            message
                .attributes
                .push(RouteAttribute::Priority(metric.parse().expect("metric")));
        }
        let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewRoute(message));
        request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND;
        let responses: Vec<_> = self
            .handle
            .clone()
            .request(request)
            .expect("send")
            .collect()
            .await;
        assert!(
            !responses
                .iter()
                .any(|response| matches!(response.payload, NetlinkPayload::Error(_))),
            "{route}: {responses:?}"
        );
    }

    /// Adds a default route with several next hops.
    pub(super) async fn add_multipath(&self, hops: &[(&str, &str)]) {
        let mut message = RouteMessageBuilder::<IpAddr>::new().build();
        let v6 = hops[0].0.contains(':');
        message.header.address_family = if v6 {
            AddressFamily::Inet6
        } else {
            AddressFamily::Inet
        };
        let mut list = Vec::new();
        for (gateway, link) in hops {
            let mut hop = RouteNextHop::default();
            hop.interface_index = self.index(link).await;
            hop.attributes
                .push(RouteAttribute::Gateway(address(gateway)));
            list.push(hop);
        }
        message.attributes.push(RouteAttribute::MultiPath(list));
        self.handle
            .route()
            .add(message)
            .execute()
            .await
            .expect("multipath");
    }

    /// All unicast routes with a prefix length of 0 or 1, in the syntax of [`Sandbox::add`],
    /// sorted.
    pub(super) async fn routes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            let routes: Vec<_> = self
                .handle
                .route()
                .get(request)
                .execute()
                .try_collect()
                .await
                .expect("routes");
            for route in routes {
                if route.header.destination_prefix_length <= 1
                    && route.header.kind == RouteType::Unicast
                {
                    found.push(self.format(&route).await);
                }
            }
        }
        found.sort();
        found
    }

    async fn format(&self, route: &RouteMessage) -> String {
        let zero = if route.header.address_family == AddressFamily::Inet {
            "0.0.0.0"
        } else {
            "::"
        };
        let mut words = format!("{zero}/{}", route.header.destination_prefix_length);
        let links: Vec<_> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .expect("links");
        let name = |index: u32| {
            let link = links
                .iter()
                .find(|link| link.header.index == index)
                .expect("link");
            link.attributes
                .iter()
                .find_map(|attribute| match attribute {
                    rtnetlink::packet_route::link::LinkAttribute::IfName(name) => {
                        Some(name.clone())
                    }
                    _ => None,
                })
        };
        let (mut via, mut metric) = (String::new(), 0);
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => {
                    via = format!(" via {gateway}");
                }
                RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => {
                    via = format!(" via {gateway}");
                }
                RouteAttribute::Priority(value) => metric = *value,
                _ => {}
            }
        }
        words += &via;
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Oif(index) => {
                    write!(words, " dev {}", name(*index).expect("name")).expect("a string");
                }
                RouteAttribute::MultiPath(hops) => {
                    write!(words, " over {} links", hops.len()).expect("a string");
                }
                _ => {}
            }
        }
        if route.header.table != 254 {
            write!(words, " table {}", route.header.table).expect("a string");
        }
        // 1024 is the default metric of IPv6.
        if metric != 0 && metric != 1024 {
            write!(words, " metric {metric}").expect("a string");
        }
        words
    }
}

fn address(text: &str) -> RouteAddress {
    text.parse::<IpAddr>().expect(text).into()
}
