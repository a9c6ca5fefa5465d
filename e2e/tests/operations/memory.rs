//! The memory of the daemon under the largest pods that the limits allow, and under a client that
//! never ends its requests.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use plexus_api::json::{MAX_RESULT, MAX_RESULT_VALUES, count_values};
use plexus_e2e::{CniTarget, Plexus, Pod, Script, Step, attaches, node};
use serde_json::{Value, json};

/// What the largest pods and requests may cost, in KiB.
const MOST: u64 = 32 << 10;
/// Connections of the client, each of which announces this many bytes.
const CONNECTIONS: usize = 500;
const ANNOUNCED: usize = 4 << 20;
/// The longest wait for the daemon to end a connection.
const TIMEOUT: Duration = Duration::from_mins(2);

/// Measures the peak of the daemon's memory from its creation on.
struct Peak {
    pid: u32,
    anonymous_before: u64,
}

impl Peak {
    fn start(plexus: &Plexus<'_>) -> Self {
        let pid = plexus.daemon.pid();
        // Resets the peak (proc_pid_clear_refs(5)).
        fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("reset the peak");
        Self {
            pid,
            anonymous_before: field(pid, "RssAnon:"),
        }
    }

    /// The peak above the memory at the start, in KiB. Pages of the program file do not count: a
    /// debug build has many, and the kernel can drop them.
    fn kib(&self) -> u64 {
        let files = field(self.pid, "RssFile:") + field(self.pid, "RssShmem:");
        field(self.pid, "VmHWM:").saturating_sub(files + self.anonymous_before)
    }

    fn anonymous_kib(&self) -> u64 {
        field(self.pid, "RssAnon:").saturating_sub(self.anonymous_before)
    }
}

/// A field of the status of a process, in KiB.
fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the daemon runs");
    let line = status.lines().find(|line| line.starts_with(name));
    let words = line.expect("a line").split_whitespace().nth(1);
    words
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// A configuration of this many KiB.
fn large(kib: usize) -> Value {
    json!({"cniVersion": "1.0.0", "type": "a", "note": "x".repeat(kib << 10)})
}

/// Two pods of each kind: one definition selected 64 times, several very large definitions, large
/// values for each plugin of a chain, and annotations that grow when they are escaped.
fn largest_pods(plexus: &Plexus<'_>) -> Vec<CniTarget> {
    plexus.manifests.definition("shared", &large(124));
    for index in 0..6 {
        let name = format!("large{index}");
        plexus.manifests.definition(&name, &large(1300));
    }
    let chain: Vec<_> = (0..32).map(|_| json!({"type": "a"})).collect();
    let chain = json!({"cniVersion": "1.0.0", "name": "chain", "plugins": chain});
    plexus.manifests.definition("chain", &chain);
    let large: Vec<_> = (0..6).map(|index| format!("large{index}")).collect();
    let values = json!([{"name": "chain", "cni-args": {"note": "x".repeat(200 << 10)}}]);
    let pods = |index: usize| {
        [
            Pod::new(&format!("shared{index}")).with_networks(vec!["shared"; 64].join(",")),
            Pod::new(&format!("large{index}")).with_networks(large.join(",")),
            Pod::new(&format!("chain{index}")).with_networks(values.to_string()),
            Pod::new(&format!("escaped{index}")).annotated("note", "\u{1}".repeat(225 << 10)),
        ]
    };
    let pods = pods(0).into_iter().chain(pods(1));
    pods.map(|pod| plexus.target(&pod)).collect()
}

/// Attaches and detaches these pods at once. Expects the peak to be within the limit.
fn assert_peak(plexus: &Plexus<'_>, targets: &[CniTarget]) {
    // The first call of each kind needs memory that later ones use again.
    let (_, ordinary) = plexus.attached("ordinary", "");
    plexus.runtime.del(&ordinary).expect_success();
    let peak = Peak::start(plexus);
    for operation in ["ADD", "DEL"] {
        let calls: Vec<_> = targets
            .iter()
            .map(|target| plexus.runtime.start(operation, target))
            .collect();
        for call in calls {
            let output = call.wait();
            assert_eq!(output.exit, Some(0), "{operation}: {output:?}");
        }
        let kib = peak.kib();
        println!(
            "{operation} of the largest pods: {kib} KiB above idle, {} KiB afterwards",
            peak.anonymous_kib()
        );
        assert!(kib <= MOST, "{operation}: {kib} KiB");
    }
    assert_eq!(plexus.files("ledger"), [""; 0]);
}

#[test]
fn eight_of_the_largest_pods_at_once_cost_at_most_32_mib() {
    let node = node!();
    let plexus = Plexus::start(&node);
    node.plugin("a", &Script::new());
    assert_peak(&plexus, &largest_pods(&plexus));
}

/// A result with as many values as are allowed in a list under `key`, and as many bytes.
fn largest_result(key: &str, item: &str) -> String {
    let values = count_values(item.as_bytes()) + 1;
    let items = vec![item; (MAX_RESULT_VALUES - 100) / values].join(",");
    let result = |note: &str| format!(r#"{{"cniVersion":"1.0.0","note":"{note}",{key}}}"#);
    let result = |note: &str| result(note).replace("ITEMS", &items);
    // The results of the default network and of this one are limited in sum.
    result(&"x".repeat(MAX_RESULT - 1000 - result("").len()))
}

#[test]
fn eight_of_the_largest_results_at_once_cost_at_most_32_mib() {
    let node = node!();
    let plexus = Plexus::start(&node);
    let results = [
        (r#""ips":[ITEMS]"#, r#"{"address":"10.0.0.1/8"}"#),
        (r#""routes":[ITEMS]"#, r#"{"dst":"10.0.0.0/8"}"#),
        (r#""interfaces":[ITEMS]"#, r#"{"name":"a"}"#),
        (r#""dns":{"search":[ITEMS]}"#, r#""""#),
    ];
    let mut targets = Vec::new();
    for (number, (key, item)) in results.into_iter().enumerate() {
        let network = format!("n{number}");
        let steps = [Step::Stdout(largest_result(key, item))];
        plexus.network(&network, &Script::new().on("ADD", steps));
        for copy in ["a", "b"] {
            let pod = Pod::new(&format!("{network}{copy}")).with_networks(network.as_str());
            targets.push(plexus.target(&pod));
        }
    }
    assert_peak(&plexus, &targets);
}

#[test]
fn a_client_that_never_ends_its_requests_takes_neither_memory_nor_service_from_others() {
    let node = node!();
    let plexus = Plexus::start(&node);
    plexus.network("a", &attaches());
    let (_, before) = plexus.attached("before", "a");
    let peak = Peak::start(&plexus);
    let socket = plexus.daemon.socket();
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let stream = node.run(|| UnixStream::connect(socket)).expect("connect");
            stream.set_nonblocking(true).expect("nonblocking");
            let head = format!(
                "POST /cni HTTP/1.1\r\nHost: plexus\r\nContent-Length: {ANNOUNCED}\r\n\r\n"
            );
            // As much as the daemon accepts.
            for part in [head.as_bytes(), &vec![b'x'; ANNOUNCED - 1]] {
                let _ = (&stream).write_all(part);
            }
            stream
        })
        .collect();
    let (_, during) = plexus.attached("during", "a");
    plexus.runtime.del(&during).expect_success();
    plexus.runtime.del(&before).expect_success();
    let statuses: Vec<_> = connections.iter().map(status).collect();
    let count = |status: &str| statuses.iter().filter(|found| *found == status).count();
    println!(
        "{} KiB at most, {} KiB afterwards; {} connections timed out, {} were refused",
        peak.kib(),
        peak.anonymous_kib(),
        count("408"),
        count("503"),
    );
    assert!(count("408") >= 1, "{statuses:?}");
    assert!(count("503") >= CONNECTIONS / 2, "{statuses:?}");
    assert!(peak.kib() <= MOST, "{} KiB", peak.kib());
    plexus.attached("afterwards", "a");
}

/// Waits until the daemon ends the connection. Returns the status of the response, or nothing if
/// the daemon closed the connection without reading all of the request.
fn status(mut stream: &UnixStream) -> String {
    stream.set_nonblocking(false).expect("blocking");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let mut response = Vec::new();
    if let Err(error) = stream.read_to_end(&mut response) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    let response = String::from_utf8_lossy(&response);
    response.split(' ').nth(1).unwrap_or_default().to_owned()
}
