//! gRPC calls on kubelet's socket.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use hyper::Uri;
use hyper::client::conn::http2;
use hyper::http::uri::PathAndQuery;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nix::fcntl::OFlag;
use prost::Message;
use tokio::net::UnixStream;
use tokio_util::task::AbortOnDropHandle;
use tonic::client::Grpc;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::file_id::FileId;
use crate::host::Host;

/// The largest answer, in bytes. Answers about all pods of a large node exceed the usual 4 MiB.
pub(super) const MAX_ANSWER: usize = 16 << 20;

/// A socket in the runtime's mount namespace.
#[derive(Debug)]
pub(super) struct Socket {
    /// Opened with `O_PATH`: a name for the socket that is valid in the daemon's mount namespace.
    file: File,
    pub(super) id: SocketId,
}

/// Identifies the socket of one kubelet process. The inode alone may be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SocketId {
    file: FileId,
    changed: (i64, i64),
}

impl From<&Metadata> for SocketId {
    fn from(metadata: &Metadata) -> Self {
        Self {
            file: FileId::from(metadata),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Socket {
    /// Finds the socket at `path`. Does not connect. Returns `None` if there is no such file.
    pub(super) async fn open(host: &Host, path: &Path) -> io::Result<Option<Self>> {
        let path = path.to_owned();
        let opened = host.run(move || {
            let flags = OFlag::O_PATH.bits();
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(path)?;
            let id = SocketId::from(&file.metadata()?);
            Ok(Self { file, id })
        });
        match opened.await? {
            Err(error) if is_absent(&error) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Makes one call on a new connection, so that kubelet may restart between two calls.
    pub(super) async fn call<Q, A>(&self, method: &str, request: Q) -> Result<A, Status>
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        let path = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let stream = UnixStream::connect(path).await.map_err(unavailable)?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(unavailable)?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let service = tower::service_fn(|request| sender.clone().send_request(request));
        let origin = Uri::from_static("http://localhost");
        let path = PathAndQuery::try_from(format!("/v1.PodResourcesLister/{method}"))
            .map_err(|error| Status::internal(error.to_string()))?;
        let answer = Grpc::with_origin(service, origin)
            .max_decoding_message_size(MAX_ANSWER)
            .unary(Request::new(request), path, ProstCodec::default())
            .await?;
        Ok(answer.into_inner())
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Status {
    Status::unavailable(format!("cannot connect: {}", error.into()))
}
