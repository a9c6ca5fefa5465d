//! What multus-shim sends to its daemon's socket, recorded from its releases, is understood by ours.

use std::fs;

use plexus_api::wire;
use plexus_e2e::binaries::vectors;
use plexus_e2e::plexus::{MAIN, attaches};
use plexus_e2e::{Call, Plexus, Pod, Step, node, or_skip};
use serde_json::{Value, json};

/// A recorded request: the line with method and path, the headers, the body.
struct Recorded {
    line: String,
    headers: Vec<String>,
    body: String,
}

impl Recorded {
    /// The bytes that went over the wire. `@W@` stands for the recorder's directory, also in the base64 of a
    /// configuration, so the length is counted again.
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
        // The recorder's client kept its connection; ours reads to the end.
        head.extend([
            format!("Content-Length: {}", body.len()),
            "Connection: close".into(),
            "\r\n".into(),
        ]);
        (head.join("\r\n") + &body).into_bytes()
    }

    fn is(&self, verb: &str) -> bool {
        self.body.contains(&format!("\"CNI_COMMAND\":\"{verb}\""))
    }
}

fn recorded(text: &str) -> Vec<Recorded> {
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
        requests.push(Recorded {
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
        let Plexus {
            daemon, manifests, ..
        } = Plexus::configured(&node, json!({"binDir": node.bin_dir()}));
        let add = [
            Step::Link("bridge".into()),
            Step::result("10.4.0.2/24", "10.4.0.1"),
        ];
        node.plugin(MAIN, &attaches().on("ADD", add));
        // The pod and the sandbox of the recording.
        manifests.pod(&Pod {
            namespace: "ns1".into(),
            uid: "uid-1".into(),
            ..Pod::new("p1")
        });
        let sandbox = node.sandbox("mbs");

        let requests = recorded(&fs::read_to_string(dir.join(file)).expect("it can be read"));
        for probe in requests
            .iter()
            .filter(|request| !request.line.contains("/cni"))
        {
            let reply = daemon.exchange(&probe.bytes()).expect("an answer");
            assert_eq!(reply.status, 200, "{file}: {}: {reply:?}", probe.line);
        }
        for verb in ["ADD", "CHECK", "DEL", "DEL"] {
            let request = requests
                .iter()
                .find(|request| request.is(verb))
                .expect("it was recorded");
            let reply = daemon.exchange(&request.bytes()).expect("an answer");
            assert_eq!(reply.status, 200, "{file}: {verb}: {reply:?}");
            if verb == "ADD" {
                let body: Value = serde_json::from_str(&reply.body).expect("JSON");
                assert_eq!(body["Result"]["ips"][0]["address"], "10.4.0.2/24", "{file}");
            } else {
                assert_eq!(reply.body.trim(), "", "{file}: {verb}");
            }
        }
        let calls: Vec<_> = node.calls().iter().map(Call::summary).collect();
        assert_eq!(
            calls,
            ["ADD main eth0", "CHECK main eth0", "DEL main eth0"],
            "{file}"
        );
        assert_eq!(node.calls()[0].env("CNI_NETNS"), sandbox.path());
    }
}
