//! A client of the container runtime interface, for pods without containers.
//!
//! Implements unary gRPC calls on HTTP/2: one framed message in each direction.

mod message;

use std::fmt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use percent_encoding::percent_decode_str;
use prost::Message;
use tokio::net::UnixStream;
use tokio::time::timeout;

pub use message::{Condition, PodSandbox, PodSandboxStatus, PortMapping};

use crate::Pod;

/// kubelet's timeout for the sandbox of a pod.
const TIMEOUT: Duration = Duration::from_mins(4);
const SERVICES: &str = "runtime.v1";
// gRPC status codes.
const UNAVAILABLE: i32 = 14;
const UNKNOWN: i32 = 2;

/// A client.
#[derive(Debug, Clone)]
pub struct Cri {
    socket: PathBuf,
}

/// An error of the runtime. kubelet shows the message in the pod's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CriError {
    /// The gRPC status code.
    pub code: i32,
    pub message: String,
}

impl CriError {
    /// Whether the runtime is starting or stopped.
    pub fn is_unavailable(&self) -> bool {
        // containerd 1.6 uses another code while it starts.
        self.code == UNAVAILABLE || self.message.contains("not initialized")
    }
}

impl fmt::Display for CriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Cri {
    pub fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// `Version`: name and version of the runtime.
    pub fn version(&self) -> Result<(String, String), CriError> {
        let response: message::VersionResponse =
            self.call("Version", &message::VersionRequest::default())?;
        Ok((response.runtime_name, response.runtime_version))
    }

    /// `RunPodSandbox`: creates the sandbox of `pod` with its network. Returns the ID.
    pub fn run(&self, pod: &Pod) -> Result<String, CriError> {
        self.run_with_ports(pod, &[])
    }

    /// The same for a pod with these ports.
    pub fn run_with_ports(&self, pod: &Pod, ports: &[PortMapping]) -> Result<String, CriError> {
        let response: message::RunResponse =
            self.call("RunPodSandbox", &run_request(pod, ports))?;
        Ok(response.pod_sandbox_id)
    }

    /// `RunPodSandbox`, cancelled when the other end of `cancel` is closed.
    pub fn run_until_closed(&self, pod: &Pod, cancel: StdUnixStream) {
        let request = framed(&run_request(pod, &[]));
        let path = format!("{SERVICES}.RuntimeService/RunPodSandbox");
        client_runtime().block_on(async {
            cancel.set_nonblocking(true).expect("a socket");
            let cancel = UnixStream::from_std(cancel).expect("a socket");
            tokio::select! {
                response = exchange(&self.socket, &path, request) => panic!("{response:?}"),
                _ = cancel.readable() => {}
            }
        });
    }

    /// `StopPodSandbox`: ends the processes and the network of a sandbox.
    pub fn stop(&self, id: &str) -> Result<(), CriError> {
        self.call("StopPodSandbox", &message::SandboxRequest::new(id))
            .map(|_: message::Empty| ())
    }

    /// `RemovePodSandbox`.
    pub fn remove(&self, id: &str) -> Result<(), CriError> {
        self.call("RemovePodSandbox", &message::SandboxRequest::new(id))
            .map(|_: message::Empty| ())
    }

    /// `PodSandboxStatus`.
    pub fn status(&self, id: &str) -> Result<PodSandboxStatus, CriError> {
        let response: message::StatusResponse =
            self.call("PodSandboxStatus", &message::SandboxRequest::new(id))?;
        Ok(response.status.unwrap_or_default())
    }

    /// `ListPodSandbox`: all sandboxes, running or not.
    pub fn list(&self) -> Result<Vec<PodSandbox>, CriError> {
        self.call("ListPodSandbox", &message::Empty {})
            .map(|response: message::ListResponse| response.items)
    }

    /// `Status`: the condition `NetworkReady`, from which kubelet derives the node's readiness.
    pub fn network_ready(&self) -> Result<Condition, CriError> {
        let response: message::RuntimeStatusResponse = self.call("Status", &message::Empty {})?;
        let conditions = response.status.unwrap_or_default().conditions;
        let found = conditions
            .into_iter()
            .find(|condition| condition.kind == "NetworkReady");
        found.ok_or_else(|| CriError {
            code: UNKNOWN,
            message: "the status has no condition NetworkReady".into(),
        })
    }

    /// `ImageStatus`: whether the runtime has `image`.
    pub fn has_image(&self, image: &str) -> Result<bool, CriError> {
        let request = message::ImageRequest {
            image: Some(message::ImageSpec {
                image: image.to_owned(),
            }),
        };
        let response: message::ImageResponse =
            self.call_of("ImageService", "ImageStatus", &request)?;
        Ok(response.image.is_some())
    }

    fn call<Response: Message + Default>(
        &self,
        method: &str,
        message: &impl Message,
    ) -> Result<Response, CriError> {
        self.call_of("RuntimeService", method, message)
    }

    /// Makes one call on a new connection.
    fn call_of<Response: Message + Default>(
        &self,
        service: &str,
        method: &str,
        of: &impl Message,
    ) -> Result<Response, CriError> {
        let path = format!("{SERVICES}.{service}/{method}");
        let outcome = client_runtime()
            .block_on(async { timeout(TIMEOUT, exchange(&self.socket, &path, framed(of))).await });
        let outcome = outcome.unwrap_or_else(|_| panic!("no response to {method} in {TIMEOUT:?}"));
        let (headers, body) = outcome.map_err(|error| CriError {
            code: UNAVAILABLE,
            message: error.to_string(),
        })?;
        let text = |key| {
            headers
                .get(key)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        match text("grpc-status").parse().unwrap_or(UNKNOWN) {
            0 => {}
            code => {
                let message = percent_decode_str(text("grpc-message"))
                    .decode_utf8_lossy()
                    .into_owned();
                return Err(CriError { code, message });
            }
        }
        // The message follows a flag byte and a length of four bytes. The request accepts no
        // compression.
        let decoded = Response::decode(body.get(5..).unwrap_or_default());
        decoded.map_err(|error| CriError {
            code: UNKNOWN,
            message: format!("{method}: {error}"),
        })
    }
}

fn run_request(pod: &Pod, ports: &[PortMapping]) -> message::RunRequest {
    let config = message::PodSandboxConfig {
        metadata: Some(message::Metadata {
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            namespace: pod.namespace.clone(),
            attempt: 0,
        }),
        hostname: pod.name.clone(),
        port_mappings: ports.to_vec(),
        annotations: pod.annotations.clone().into_iter().collect(),
        linux: Some(message::LinuxConfig::default()),
    };
    message::RunRequest {
        config: Some(config),
    }
}

fn client_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Sends a request. Returns the headers merged with the trailers, because an error response has
/// headers only, and the body.
async fn exchange(
    socket: &Path,
    path: &str,
    body: Vec<u8>,
) -> Result<(HeaderMap, Bytes), anyhow::Error> {
    let stream = TokioIo::new(UnixStream::connect(socket).await?);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
    tokio::spawn(connection);
    let request = Request::post(format!("http://localhost/{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(Bytes::from(body)))?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let collected = body.collect().await?;
    let mut headers = parts.headers;
    headers.extend(collected.trailers().cloned().unwrap_or_default());
    Ok((headers, collected.to_bytes()))
}

fn framed(message: &impl Message) -> Vec<u8> {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).expect("the message is short");
    [&[0], &length.to_be_bytes()[..], &body].concat()
}
