//! The daemon serves the requests that multus-shim sends, recorded from its releases.

use std::fs;

use plexus_api::wire;
use plexus_e2e::binaries::vectors;
use plexus_e2e::plexus::MAIN;
use plexus_e2e::{Plexus, Pod, Step, attaches, node, or_skip};
use serde_json::{Value, json};

/// A recorded request.
struct RecordedRequest {
    /// Method and path.
    line: String,
    headers: Vec<String>,
    body: String,
}

impl RecordedRequest {
    /// The bytes of the request. `@W@` was the recorder's directory, also in the base64-encoded
    /// configuration, so the length is computed again.
    fn bytes(&self) -> Vec<u8> {
        let body = match serde_json::from_str::<wire::Request>(&self.body) {
            Ok(mut request) => {
                request.config = String::from_utf8_lossy(&request.config)
                    .replace("@W@", "/run/recorder")
                    .into_bytes();
                serde_json::to_string(&request).expect("a request is JSON")
            }
            Err(_) => self.body.clone(),
        };
        let mut head = vec![self.line.clone()];
        head.extend(
            self.headers
                .iter()
                .filter(|header| !header.starts_with("Content-Length"))
                .cloned(),
        );
        // The harness reads the response until the connection is closed.
        head.extend([
            format!("Content-Length: {}", body.len()),
            "Connection: close".into(),
            "\r\n".into(),
        ]);
        (head.join("\r\n") + &body).into_bytes()
    }

    fn is(&self, operation: &str) -> bool {
        self.body
            .contains(&format!("\"CNI_COMMAND\":\"{operation}\""))
    }
}

fn parse(text: &str) -> Vec<RecordedRequest> {
    let mut requests = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if !line.ends_with(" HTTP/1.1") {
            continue;
        }
        let headers = lines
            .by_ref()
            .take_while(|line| !line.is_empty())
            .map(str::to_owned)
            .collect();
        let body: Vec<_> = lines
            .by_ref()
            .take_while(|line| !line.starts_with("-----"))
            .collect();
        requests.push(RecordedRequest {
            line: line.to_owned(),
            headers,
            body: body.join("\n"),
        });
    }
    requests
}

#[test]
fn recorded_requests_are_served() {
    let dir = or_skip!(vectors());
    for file in ["shim-wire-430.txt", "shim-wire-master.txt"] {
        let node = node!();
        let plexus = Plexus::start_with(&node, json!({"binDir": node.bin_dir()}));
        let add = [Step::link(), Step::result("10.4.0.2/24", "10.4.0.1")];
        node.plugin(MAIN, &attaches().on("ADD", add));
        // The pod and the sandbox of the recording.
        plexus
            .manifests
            .pod(&Pod::new("p1").in_namespace("ns1").with_uid("uid-1"));
        let sandbox = node.sandbox("mbs");

        let requests = parse(&fs::read_to_string(dir.join(file)).expect("read the recording"));
        for probe in requests
            .iter()
            .filter(|request| !request.line.contains("/cni"))
        {
            let reply = plexus.daemon.exchange(&probe.bytes()).expect("a reply");
            assert_eq!(reply.status, 200, "{file}: {}: {reply:?}", probe.line);
        }
        for operation in ["ADD", "CHECK", "DEL", "DEL"] {
            let request = requests
                .iter()
                .find(|request| request.is(operation))
                .expect("a recorded request");
            let reply = plexus.daemon.exchange(&request.bytes()).expect("a reply");
            assert_eq!(reply.status, 200, "{file}: {operation}: {reply:?}");
            if operation == "ADD" {
                let body: Value = serde_json::from_str(&reply.body).expect("JSON");
                assert_eq!(body["Result"]["ips"][0]["address"], "10.4.0.2/24", "{file}");
            } else {
                assert_eq!(reply.body.trim(), "", "{file}: {operation}");
            }
        }
        assert_eq!(
            plexus.calls(),
            ["ADD main eth0", "CHECK main eth0", "DEL main eth0"],
            "{file}"
        );
        assert_eq!(node.calls()[0].env("CNI_NETNS"), sandbox.path());
    }
}
