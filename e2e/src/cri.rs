//! The container runtime interface: kubelet's side of it, as far as pods without containers go.
//!
//! gRPC without a crate of its own: one message in a frame each way, over HTTP/2.

mod message;

use std::fmt;
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

pub use message::{Condition, PodSandbox, PodSandboxStatus};

use crate::Pod;

/// kubelet's limit for a pod's sandbox.
const PATIENCE: Duration = Duration::from_mins(4);
/// The codes of gRPC: a server that is away, and whatever has no other.
const UNAVAILABLE: i32 = 14;
const UNKNOWN: i32 = 2;

/// A runtime's socket.
#[derive(Debug, Clone)]
pub struct Cri {
    socket: PathBuf,
}

/// Why a call failed: what a user finds on the pod's events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The code of gRPC.
    pub code: i32,
    /// The runtime's words.
    pub message: String,
}

impl Refused {
    /// Whether the runtime does not serve yet, or no more.
    pub fn is_away(&self) -> bool {
        // containerd 1.6 has no code for it.
        self.code == UNAVAILABLE || self.message.contains("not initialized")
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Cri {
    /// The runtime that listens at `socket`.
    pub fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// `Version`: name and version of the runtime.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn version(&self) -> Result<(String, String), Refused> {
        let answer: message::VersionResponse =
            self.call("Version", &message::VersionRequest::default())?;
        Ok((answer.runtime_name, answer.runtime_version))
    }

    /// `RunPodSandbox`: the sandbox of `pod` with its network; its ID.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn run(&self, pod: &Pod) -> Result<String, Refused> {
        let config = message::PodSandboxConfig {
            metadata: Some(message::Metadata {
                name: pod.name.clone(),
                uid: pod.uid.clone(),
                namespace: pod.namespace.clone(),
                attempt: 0,
            }),
            hostname: pod.name.clone(),
            annotations: pod.annotations.clone().into_iter().collect(),
            linux: Some(message::LinuxConfig::default()),
        };
        let answer: message::RunResponse = self.call(
            "RunPodSandbox",
            &message::RunRequest {
                config: Some(config),
            },
        )?;
        Ok(answer.pod_sandbox_id)
    }

    /// `StopPodSandbox`: its processes and its network end.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn stop(&self, id: &str) -> Result<(), Refused> {
        self.call("StopPodSandbox", &message::Of::new(id))
            .map(|_: message::Nothing| ())
    }

    /// `RemovePodSandbox`: what is left of it goes.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn remove(&self, id: &str) -> Result<(), Refused> {
        self.call("RemovePodSandbox", &message::Of::new(id))
            .map(|_: message::Nothing| ())
    }

    /// `PodSandboxStatus`.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn status(&self, id: &str) -> Result<PodSandboxStatus, Refused> {
        let answer: message::StatusResponse =
            self.call("PodSandboxStatus", &message::Of::new(id))?;
        Ok(answer.status.unwrap_or_default())
    }

    /// `ListPodSandbox`: all of them, running or not.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn list(&self) -> Result<Vec<PodSandbox>, Refused> {
        self.call("ListPodSandbox", &message::Nothing {})
            .map(|answer: message::ListResponse| answer.items)
    }

    /// `Status`: the condition `NetworkReady`, by which kubelet tells whether the node is ready.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn network_ready(&self) -> Result<Condition, Refused> {
        let answer: message::RuntimeStatusResponse = self.call("Status", &message::Nothing {})?;
        let conditions = answer.status.unwrap_or_default().conditions;
        let found = conditions
            .into_iter()
            .find(|condition| condition.kind == "NetworkReady");
        found.ok_or_else(|| Refused {
            code: UNKNOWN,
            message: "it does not tell of NetworkReady".into(),
        })
    }

    /// `ImageStatus`: whether it can run pods from `image`.
    ///
    /// # Errors
    /// What the runtime says.
    pub fn has_image(&self, image: &str) -> Result<bool, Refused> {
        let request = message::ImageRequest {
            image: Some(message::ImageSpec {
                image: image.to_owned(),
            }),
        };
        let answer: message::ImageResponse =
            self.call_of("ImageService", "ImageStatus", &request)?;
        Ok(answer.image.is_some())
    }

    fn call<Answer: Message + Default>(
        &self,
        method: &str,
        message: &impl Message,
    ) -> Result<Answer, Refused> {
        self.call_of("RuntimeService", method, message)
    }

    /// One call, on a connection of its own.
    fn call_of<A: Message + Default>(
        &self,
        service: &str,
        method: &str,
        of: &impl Message,
    ) -> Result<A, Refused> {
        let path = format!("runtime.v1.{service}/{method}");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let outcome = runtime
            .block_on(async { timeout(PATIENCE, exchange(&self.socket, &path, framed(of))).await });
        let outcome = outcome.unwrap_or_else(|_| panic!("no answer to {method} in {PATIENCE:?}"));
        let (headers, body) = outcome.map_err(|error| Refused {
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
                return Err(Refused { code, message });
            }
        }
        // One byte and a length of four before the message. Nothing was said of compression, so there is none.
        let decoded = A::decode(body.get(5..).unwrap_or_default());
        decoded.map_err(|error| Refused {
            code: UNKNOWN,
            message: format!("{method}: {error}"),
        })
    }
}

/// Headers and trailers in one, where a server that has nothing but an error to say sends headers alone; and the body.
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
    let length = u32::try_from(body.len()).expect("it is short");
    [&[0], &length.to_be_bytes()[..], &body].concat()
}
