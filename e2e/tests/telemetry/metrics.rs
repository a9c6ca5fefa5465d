//! The metrics of a running daemon.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use plexus_e2e::plexus::{attaches, with_keys};
use plexus_e2e::{Plexus, Pod, Script, Step, node};
use serde_json::json;

use crate::scrape::{DEFAULT, assert_values, scrape, value};

#[test]
fn calls_and_plugins_are_measured() {
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
        // The rollback of the one, the DEL of the other.
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
fn what_runs_and_what_waits_is_seen_while_it_does() {
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"maxPluginRuns": 1}));
    let gate = node.gate("add");
    node.plugin(
        "main",
        &attaches().on("ADD", [gate.step(), Step::Link("bridge".into())]),
    );
    let first = plexus
        .runtime
        .start("ADD", &plexus.target(&Pod::new("first")));
    let held = gate.wait();
    let second = plexus
        .runtime
        .start("ADD", &plexus.target(&Pod::new("second")));
    // Nothing tells that a call has begun to wait but the metrics themselves.
    let end = Instant::now() + Duration::from_secs(20);
    while value(&plexus, r#"plexus_plugin_permits_waiting{priority="add"}"#) < 1.0 {
        assert!(Instant::now() < end, "{}", scrape(&plexus));
    }
    let meanwhile = [
        (r#"plexus_requests_in_flight{verb="ADD"}"#, 2.0),
        ("plexus_plugin_permits_in_use", 1.0),
        (r#"plexus_ledger_records{state="adding"}"#, 2.0),
    ];
    assert_values(&plexus, &meanwhile);
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
fn the_port_answers_scrapes_and_probes_and_nothing_else() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let address: SocketAddr = DEFAULT.parse().expect("an address");
    for (path, status) in [
        ("/metrics", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/cni", 404),
        ("/loglevel", 404),
        ("/", 404),
    ] {
        let reply = plexus.daemon.get_tcp(address, path).expect("an answer");
        assert_eq!(reply.status, status, "{path}");
    }
    let over_socket = plexus.daemon.get("/metrics").expect("an answer").body;
    assert!(over_socket.contains("plexus_build_info{"), "{over_socket}");
    assert!(!over_socket.contains("multus_"), "{over_socket}");
}

#[test]
fn multus_key_means_all_addresses_and_its_metric() {
    let node = node!();
    let plexus = Plexus::configured(&node, json!({"metricsPort": 9091}));
    node.ip("addr add 192.0.2.1/32 dev lo");
    plexus
        .runtime
        .add(&plexus.target(&Pod::new("pod")))
        .result();
    plexus.daemon.get("/no/such/path").expect("an answer");
    for address in ["127.0.0.1:9091", "192.0.2.1:9091"] {
        let reply = plexus
            .daemon
            .get_tcp(address.parse().expect("an address"), "/metrics")
            .expect("an answer");
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
fn pods_are_served_without_the_port() {
    let node = node!();
    // Another program has the port.
    let _taken = node.run(|| TcpListener::bind(DEFAULT)).expect("it is free");
    let mut plexus = Plexus::start(&node);
    plexus
        .runtime
        .add(&plexus.target(&Pod::new("one")))
        .result();
    assert!(
        plexus.daemon.log().contains("metricsAddress"),
        "{}",
        plexus.daemon.log()
    );

    plexus.daemon.configure(&with_keys(
        plexus.config.clone(),
        json!({"metricsAddress": ""}),
    ));
    plexus.daemon.restart();
    plexus
        .runtime
        .add(&plexus.target(&Pod::new("two")))
        .result();
    assert_eq!(
        plexus.daemon.get("/metrics").expect("an answer").status,
        200
    );
}

#[test]
fn clients_that_hang_on_the_port_keep_no_call_waiting() {
    let node = node!();
    let mut plexus = Plexus::start(&node);
    let mut hanging: Vec<_> = (0..40)
        .map(|_| {
            node.run(|| TcpStream::connect(DEFAULT))
                .expect("it is accepted")
        })
        .collect();
    let target = plexus.target(&Pod::new("pod"));
    plexus.runtime.add(&target).result();
    plexus.runtime.del(&target).expect_silence();
    // They end with the daemon, and do not keep it.
    plexus.daemon.stop();
    for stream in &mut hanging {
        assert!(
            matches!(stream.read(&mut [0]), Ok(0) | Err(_)),
            "it is closed"
        );
    }
}
