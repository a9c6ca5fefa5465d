//! The metrics of a running daemon.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use plexus_e2e::json::with_keys;
use plexus_e2e::{Plexus, Pod, Script, Step, attaches, metric, node};
use serde_json::json;

use crate::{ADDRESS, scrape};

/// Asserts the values of these series in one scrape.
#[track_caller]
fn assert_values(plexus: &Plexus<'_>, expected: &[(&str, f64)]) {
    let scrape = scrape(plexus);
    for (series, expected) in expected {
        let value: f64 = metric(&scrape, series);
        assert!((value - expected).abs() < 1e-9, "{series} in\n{scrape}");
    }
}

/// The value of a series.
fn value(plexus: &Plexus<'_>, series: &str) -> f64 {
    metric(&scrape(plexus), series)
}

#[test]
fn calls_and_plugins_are_counted() {
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("lan", &attaches());
    let (_, target) = plexus.attached("good", "lan");
    let attached = [
        (r#"plexus_requests_total{code="0",verb="ADD"}"#, 1.0),
        (r#"plexus_request_duration_seconds_count{verb="ADD"}"#, 1.0),
        (r#"plexus_requests_in_flight{verb="ADD"}"#, 0.0),
        (
            r#"plexus_plugin_duration_seconds_count{plugin="lan",verb="ADD"}"#,
            1.0,
        ),
        (
            r#"plexus_plugin_failures_total{plugin="lan",verb="ADD"}"#,
            0.0,
        ),
        (r#"plexus_ledger_records{state="attached"}"#, 1.0),
        ("plexus_network_status_writes_pending", 0.0),
        (r#"plexus_cache_objects{kind="definitions"}"#, 1.0),
        ("plexus_cache_synced", 1.0),
        ("plexus_plugin_permits", 32.0),
    ];
    assert_values(&plexus, &attached);

    node.plugin(
        "lan",
        &Script::new()
            .fails("ADD", 123, "no")
            .fails("DEL", 124, "never"),
    );
    plexus
        .runtime
        .add(&plexus.sandbox("bad", "lan").1)
        .expect_code(123);
    plexus.runtime.del(&target).expect_code(124);
    let failed = [
        (r#"plexus_requests_total{code="123",verb="ADD"}"#, 1.0),
        (r#"plexus_requests_total{code="124",verb="DEL"}"#, 1.0),
        (
            r#"plexus_plugin_failures_total{plugin="lan",verb="ADD"}"#,
            1.0,
        ),
        // One in the rollback of the ADD, one in the DEL.
        (
            r#"plexus_plugin_failures_total{plugin="lan",verb="DEL"}"#,
            2.0,
        ),
        (r#"plexus_ledger_records{state="attached"}"#, 0.0),
        (r#"plexus_ledger_records{state="deleting"}"#, 2.0),
    ];
    assert_values(&plexus, &failed);
    assert!(value(&plexus, "plexus_ledger_oldest_pending_cleanup_seconds") > 0.0);
}

#[test]
fn running_and_waiting_plugins_are_counted() {
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"maxPluginRuns": 1}));
    let gate = node.gate("add");
    node.plugin("main", &attaches().on("ADD", [gate.step(), Step::link()]));
    let first = plexus
        .runtime
        .start("ADD", &plexus.target(&Pod::new("first")));
    let held = gate.wait();
    let second = plexus
        .runtime
        .start("ADD", &plexus.target(&Pod::new("second")));
    // Only the metrics show that a call is waiting.
    let end = Instant::now() + Duration::from_secs(20);
    while value(&plexus, r#"plexus_plugin_permits_waiting{priority="add"}"#) < 1.0 {
        assert!(Instant::now() < end, "{}", scrape(&plexus));
    }
    let in_flight = [
        (r#"plexus_requests_in_flight{verb="ADD"}"#, 2.0),
        ("plexus_plugin_permits_in_use", 1.0),
        (r#"plexus_ledger_records{state="adding"}"#, 2.0),
    ];
    assert_values(&plexus, &in_flight);
    held.release();
    first.wait().result();
    gate.wait().release();
    second.wait().result();
    let after = [
        (r#"plexus_requests_in_flight{verb="ADD"}"#, 0.0),
        ("plexus_plugin_permits_in_use", 0.0),
    ];
    assert_values(&plexus, &after);
}

#[test]
fn the_metrics_port_serves_only_metrics_and_probes() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let address: SocketAddr = ADDRESS.parse().expect("an address");
    for (path, status) in [
        ("/metrics", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/cni", 404),
        ("/loglevel", 404),
        ("/", 404),
    ] {
        let reply = plexus.daemon.get_tcp(address, path).expect("a reply");
        assert_eq!(reply.status, status, "{path}");
    }
    let over_socket = plexus.daemon.get("/metrics").expect("a reply").body;
    assert!(over_socket.contains("plexus_build_info{"), "{over_socket}");
    assert!(!over_socket.contains("multus_"), "{over_socket}");
}

#[test]
fn the_metrics_key_of_multus_listens_on_all_addresses_and_adds_its_metric() {
    let node = node!();
    let plexus = Plexus::start_with(&node, json!({"metricsPort": 9091}));
    node.ip("addr add 192.0.2.1/32 dev lo");
    plexus
        .runtime
        .add(&plexus.target(&Pod::new("pod")))
        .result();
    plexus.daemon.get("/no/such/path").expect("a reply");
    for address in ["127.0.0.1:9091", "192.0.2.1:9091"] {
        let reply = plexus
            .daemon
            .get_tcp(address.parse().expect("an address"), "/metrics")
            .expect("a reply");
        for series in [
            r#"multus_server_request_total{code="200",handler="/cni",method="post"} 1"#,
            r#"multus_server_request_total{code="404",handler="NotFound",method="get"} 1"#,
        ] {
            assert!(
                reply.body.lines().any(|line| line == series),
                "{series} in\n{}",
                reply.body
            );
        }
    }
    assert!(
        plexus.daemon.log().contains("all addresses"),
        "{}",
        plexus.daemon.log()
    );
}

#[test]
fn pods_are_served_if_the_metrics_port_is_in_use_or_disabled() {
    let node = node!();
    let _listener = node
        .run(|| TcpListener::bind(ADDRESS))
        .expect("bind the port");
    let mut plexus = Plexus::on(&node).build();
    plexus.daemon.launch();
    plexus.daemon.wait_not_ready("metricsAddress");
    plexus
        .runtime
        .add(&plexus.target(&Pod::new("one")))
        .result();
    plexus.daemon.wait_log("metricsAddress");

    plexus.daemon.configure(&with_keys(
        plexus.config.clone(),
        json!({"metricsAddress": ""}),
    ));
    plexus.daemon.restart();
    plexus
        .runtime
        .add(&plexus.target(&Pod::new("two")))
        .result();
    assert_eq!(plexus.daemon.get("/metrics").expect("a reply").status, 200);
}

#[test]
fn idle_connections_to_the_metrics_port_block_nothing() {
    let node = node!();
    let mut plexus = Plexus::start(&node);
    let mut connections: Vec<_> = (0..40)
        .map(|_| {
            node.run(|| TcpStream::connect(ADDRESS))
                .expect("connect to the port")
        })
        .collect();
    let target = plexus.target(&Pod::new("pod"));
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_success();
    // Open connections do not delay the exit of the daemon.
    plexus.daemon.stop();
    for stream in &mut connections {
        assert!(
            matches!(stream.read(&mut [0]), Ok(0) | Err(_)),
            "the connection is closed"
        );
    }
}
