//! gRPC on a Unix socket.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::path::Path;

use futures_util::{StreamExt as _, stream};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use crate::device_plugin::message::Empty;

pub(crate) type HttpRequest = hyper::Request<Incoming>;
pub(crate) type HttpResponse = hyper::Response<Body>;

/// Binds a socket, in place of one that is left from an earlier process.
pub(crate) fn bind(socket: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixListener::bind(socket)
}

/// Serves all connections until `stop` is cancelled.
pub(crate) async fn serve<F>(
    listener: UnixListener,
    stop: CancellationToken,
    answer: impl Fn(HttpRequest) -> F + Clone + Send + Sync + 'static,
) where
    F: Future<Output = HttpResponse> + Send + 'static,
{
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, _) = accepted.expect("accept a connection");
        let (answer, stop) = (answer.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = answer(request);
                async { Ok::<_, Infallible>(response.await) }
            });
            let connection = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            // A client that disconnects is not an error.
            let _ = stop.run_until_cancelled(connection).await;
        });
    }
}

/// Decodes a request, and encodes the answer.
pub(crate) async fn unary<Q, A, F>(
    request: HttpRequest,
    answer: impl Fn(Q) -> F + Send + Sync,
) -> HttpResponse
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
    F: Future<Output = Result<A, Status>> + Send,
{
    let service = tower::service_fn(|request: Request<Q>| {
        let answer = answer(request.into_inner());
        async { answer.await.map(Response::new) }
    });
    Grpc::new(ProstCodec::<A, Q>::default())
        .unary(service, request)
        .await
}

/// Answers with `first`, and keeps the stream open.
pub(crate) async fn stream<A>(request: HttpRequest, first: A) -> HttpResponse
where
    A: Message + Clone + Default + 'static,
{
    let service = tower::service_fn(|_: Request<Empty>| {
        let answers = stream::iter([Ok(first.clone())]).chain(stream::pending());
        async { Ok(Response::new(answers)) }
    });
    Grpc::new(ProstCodec::<A, Empty>::default())
        .server_streaming(service, request)
        .await
}
