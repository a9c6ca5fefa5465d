//! A device plugin, which offers devices that do not exist to a real kubelet.

pub(crate) mod message;
mod service;
#[cfg(test)]
mod tests;

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::StreamExt as _;
use hyper::Uri;
use hyper::client::conn::http2;
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::{TokioExecutor, TokioIo};
use inotify::{Inotify, WatchMask};
use prost::Message;
use tokio::net::UnixStream;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic_prost::ProstCodec;

use crate::server;
use message::{Device, Empty, NumaNode, RegisterRequest, TopologyInfo};

/// The name of kubelet's socket.
const KUBELET: &str = "kubelet.sock";
/// How often, and with which pauses, the plugin tries to connect again.
const ATTEMPTS: usize = 1000;
const PAUSE: Duration = Duration::from_millis(10);

/// A device plugin.
#[derive(Debug)]
pub struct DevicePlugin {
    /// The directory of kubelet's socket and of the plugin's socket.
    dir: PathBuf,
    resource: String,
    devices: Vec<Device>,
}

/// A device that a plugin offers, as `ID` or `ID=NUMA_NODE[,NUMA_NODE...]`.
#[derive(Debug, Clone)]
pub struct PluginDevice(Device);

impl FromStr for PluginDevice {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (id, nodes) = text.split_once('=').unzip();
        let nodes = nodes.map(|nodes| {
            let ids = nodes
                .split(',')
                .map(|id| id.parse().map(|id| NumaNode { id }));
            ids.collect::<Result<_, _>>()
                .with_context(|| format!("{text}: NUMA nodes"))
        });
        Ok(Self(Device {
            id: id.unwrap_or(text).to_owned(),
            health: "Healthy".to_owned(),
            topology: nodes.transpose()?.map(|nodes| TopologyInfo { nodes }),
        }))
    }
}

impl DevicePlugin {
    /// A plugin for the kubelet whose root directory is `kubelet_dir`.
    pub fn new(kubelet_dir: &Path, resource: &str, devices: Vec<PluginDevice>) -> Self {
        Self {
            dir: kubelet_dir.join("device-plugins"),
            resource: resource.to_owned(),
            devices: devices.into_iter().map(|device| device.0).collect(),
        }
    }

    /// Serves, and registers with each kubelet process that starts. Returns only on errors.
    pub async fn run(self) -> anyhow::Result<()> {
        let plugin = Arc::new(self);
        let inotify = Inotify::init()?;
        inotify
            .watches()
            .add(&plugin.dir, WatchMask::CREATE)
            .with_context(|| plugin.dir.display().to_string())?;
        let mut events = inotify.into_event_stream(vec![0; 4096])?;
        let mut server = plugin.serve()?;
        if plugin.dir.join(KUBELET).exists() {
            plugin.register().await?;
        }
        while let Some(event) = events.next().await {
            if event?.name.is_some_and(|name| name == KUBELET) {
                // Kubelet removes the sockets of all plugins when it starts.
                server.cancel();
                server = plugin.serve()?;
                plugin.register().await?;
            }
        }
        bail!("inotify ended")
    }

    /// Serves on a new socket until the token is cancelled.
    fn serve(self: &Arc<Self>) -> anyhow::Result<CancellationToken> {
        let (socket, stop) = (self.dir.join(self.endpoint()), CancellationToken::new());
        let listener = server::bind(&socket).with_context(|| socket.display().to_string())?;
        let plugin = self.clone();
        let server = server::serve(listener, stop.clone(), move |request| {
            service::answer(plugin.clone(), request)
        });
        tokio::spawn(server);
        Ok(stop)
    }

    async fn register(&self) -> anyhow::Result<()> {
        let request = RegisterRequest {
            version: "v1beta1".to_owned(),
            endpoint: self.endpoint(),
            resource_name: self.resource.clone(),
            options: Some(service::OPTIONS),
        };
        let kubelet = self.dir.join(KUBELET);
        let registered: anyhow::Result<Empty> =
            call(&kubelet, "/v1beta1.Registration/Register", request).await;
        registered.with_context(|| kubelet.display().to_string())?;
        println!("registered {} with kubelet", self.resource);
        Ok(())
    }

    fn endpoint(&self) -> String {
        format!("{}.sock", self.resource.replace('/', "_"))
    }
}

/// Connects to a socket, which exists before its process listens.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    for _ in 0..ATTEMPTS {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => sleep(PAUSE).await,
            connected => return connected,
        }
    }
    UnixStream::connect(socket).await
}

/// Makes one call on a new connection.
async fn call<Q, A>(socket: &Path, method: &'static str, request: Q) -> anyhow::Result<A>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let stream = connect(socket).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let service = tower::service_fn(|request| sender.clone().send_request(request));
    let answer = Grpc::with_origin(service, Uri::from_static("http://localhost"))
        .unary(
            tonic::Request::new(request),
            PathAndQuery::from_static(method),
            ProstCodec::default(),
        )
        .await;
    connection.abort();
    Ok(answer?.into_inner())
}
