//! A program that changes the networks of running pods through `/delegate`.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use plexus_api::wire;
use plexus_e2e::PlexusInCluster;
use serde_json::{Value, json};

use super::Attached;

/// A request of `/delegate`.
#[derive(Clone)]
pub(super) struct Request {
    pub(super) env: BTreeMap<String, String>,
    pub(super) config: Value,
    pub(super) attributes: Value,
}

/// The configuration of a network with the scripted plugin of the same name.
pub(super) fn network(name: &str) -> Value {
    json!({"cniVersion": "1.0.0", "name": name, "type": name})
}

impl Request {
    /// A request of `verb` for the interface `ifname` of a pod.
    pub(super) fn new(verb: &str, pod: &Attached<'_>, ifname: &str, config: Value) -> Self {
        let target = &pod.target;
        let args = target.pod.as_ref().map_or_else(String::new, |pod| {
            let (namespace, name, uid) = (&pod.namespace, &pod.name, &pod.uid);
            format!("K8S_POD_NAMESPACE={namespace};K8S_POD_NAME={name};K8S_POD_UID={uid}")
        });
        let env = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", &target.container),
            ("CNI_NETNS", &target.netns),
            ("CNI_IFNAME", ifname),
            ("CNI_ARGS", &args),
        ];
        Self {
            env: env
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            config,
            attributes: Value::Null,
        }
    }

    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        self.env.insert(key.to_owned(), value.to_owned());
        self
    }

    pub(super) fn without(mut self, key: &str) -> Self {
        self.env.remove(key);
        self
    }

    pub(super) fn with_attributes(mut self, attributes: Value) -> Self {
        self.attributes = attributes;
        self
    }

    /// The JSON of the request.
    pub(super) fn body(&self) -> Vec<u8> {
        let request = wire::Request {
            env: self.env.clone(),
            config: self.config.to_string().into_bytes(),
            at: None,
        };
        let mut body = json!(request);
        if !self.attributes.is_null() {
            body["interfaceAttributes"] = self.attributes.clone();
        }
        body.to_string().into_bytes()
    }

    /// Sends the request. Returns the status and the body, which is null if it is empty.
    pub(super) fn send(&self, plexus: &PlexusInCluster<'_>) -> (u16, Value) {
        let reply = plexus.daemon.post("/delegate", &self.body());
        let reply = reply.expect("a response");
        let body = if reply.body.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&reply.body).expect("JSON")
        };
        (reply.status, body)
    }

    /// Sends the request and expects success. Returns the result of ADD.
    #[track_caller]
    pub(super) fn succeed(&self, plexus: &PlexusInCluster<'_>) -> Value {
        let (status, body) = self.send(plexus);
        assert_eq!(status, 200, "{body}");
        body["Result"].clone()
    }

    /// Sends the request and expects an error with this code and these parts.
    #[track_caller]
    pub(super) fn fail(&self, plexus: &PlexusInCluster<'_>, code: u32, parts: &[&str]) {
        let (status, body) = self.send(plexus);
        let message = body["msg"].as_str().unwrap_or_default();
        assert_eq!((status, &body["code"]), (400, &json!(code)), "{body}");
        for part in parts {
            assert!(message.contains(part), "no {part:?} in {body}");
        }
    }

    /// Sends the request and does not wait for the response. Dropping the connection disconnects.
    pub(super) fn start(&self, plexus: &PlexusInCluster<'_>) -> Connection {
        let socket = plexus.daemon.socket();
        let stream = plexus.node.run(|| UnixStream::connect(socket));
        let mut stream = stream.expect("connect");
        let body = self.body();
        let head = format!(
            "POST /delegate HTTP/1.1\r\nHost: dummy\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), &body].concat();
        stream.write_all(&request).expect("send");
        Connection(stream)
    }
}

/// A request without a response so far.
pub(super) struct Connection(UnixStream);

impl Connection {
    /// The response, or an empty text if the daemon is gone.
    pub(super) fn response(mut self) -> String {
        let mut response = String::new();
        // A daemon that is killed resets the connection.
        let _ = self.0.read_to_string(&mut response);
        response
    }
}
