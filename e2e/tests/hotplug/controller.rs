//! multus-dynamic-networks-controller v0.3.7, as far as plexusd sees it.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use plexus_e2e::{Cluster, Node, PlexusInCluster, attaches, node};
use serde_json::{Value, json};

use super::program::Request;
use super::{attach, calls};

/// Sends a request as the controller does, with the headers of Go's client, to Multus' socket.
/// Returns the head and the body of the response.
fn send(node: &Node, request: &Request) -> (String, String) {
    let body = String::from_utf8(request.body()).expect("JSON");
    let text = format!(
        "POST /delegate HTTP/1.1\r\nHost: dummy\r\nUser-Agent: Go-http-client/1.1\r\n\
         Content-Length: {}\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    node.run(|| {
        let mut stream = UnixStream::connect("/run/multus/multus.sock").expect("connect");
        stream.write_all(text.as_bytes()).expect("send");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("a response");
        let (head, body) = response.split_once("\r\n\r\n").expect("a head");
        (head.to_owned(), body.to_owned())
    })
}

#[test]
fn the_requests_of_multus_dynamic_networks_controller_are_served() {
    let (node, cluster) = (node!(), Cluster::new());
    let plexus = PlexusInCluster::start_with(&node, &cluster, json!({"multusSocket": true}));
    node.plugin("bridge", &attaches());
    // The controller adds the name of the definition to a configuration without one.
    let spec = json!({"cniVersion": "0.3.1", "type": "bridge", "capabilities": {"mac": true}});
    plexus.namespace.definition("tenant", &spec);
    let mut config = spec;
    config["name"] = json!("tenant");
    let pod = attach(&plexus, "web", "");
    let mac = "02:00:00:00:00:07";
    let request = |verb: &str, attributes: Value| {
        Request::new(verb, &pod, "pod1a2b3c", config.clone()).with_attributes(attributes)
    };
    let attributes = json!({"ips": ["10.1.2.3/24"], "mac": mac, "cni-args": null});
    let (head, body) = send(&node, &request("ADD", attributes));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}\n{body}");
    let response: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(response["Result"]["cniVersion"], "1.1.0");
    assert_eq!(response["Result"]["interfaces"][0]["name"], "pod1a2b3c");
    let add = node.calls_for(&pod.target.container).pop().expect("a call");
    let expected = json!({
        "cniVersion": "0.3.1", "name": "tenant", "type": "bridge", "runtimeConfig": {"mac": mac},
    });
    assert_eq!(add.config(), expected);

    // Elements of the annotation without an interface are errors with Multus as well.
    let nameless = request("ADD", Value::Null).with("CNI_IFNAME", "");
    let (head, body) = send(&node, &nameless);
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert!(body.contains("NETWORK@INTERFACE"), "{body}");

    let (head, body) = send(&node, &request("DEL", Value::Null));
    assert!(
        head.starts_with("HTTP/1.1 200") && body.is_empty(),
        "{head}\n{body}"
    );
    let expected = [
        "ADD main eth0",
        "ADD bridge pod1a2b3c",
        "DEL bridge pod1a2b3c",
    ];
    assert_eq!(calls(&pod, &plexus), expected);
}
