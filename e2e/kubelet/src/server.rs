//! gRPC on a Unix socket.

use std::convert::Infallible;
use std::sync::Arc;

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

use crate::Shared;
use crate::message::{AllocatableResourcesRequest, ListPodResourcesRequest};
use crate::state::State;

/// Serves all connections until `stop` is cancelled.
pub(crate) async fn serve(listener: UnixListener, state: Arc<Shared>, stop: CancellationToken) {
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let (stream, _) = accepted.expect("accept a connection");
        let (state, stop) = (state.clone(), stop.clone());
        tokio::spawn(async move {
            let service = service_fn(|request| answer(state.clone(), request));
            let connection = http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            // A client that disconnects is not an error.
            let _ = stop.run_until_cancelled(connection).await;
        });
    }
}

async fn answer(
    state: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Body>, Infallible> {
    let method = request.uri().path().strip_prefix("/v1.PodResourcesLister/");
    let response = match method {
        Some("Get") => unary(&state, request, State::get).await,
        Some("List") => {
            let list = |state: &mut State, _: &ListPodResourcesRequest| state.list();
            unary(&state, request, list).await
        }
        Some("GetAllocatableResources") => {
            let get = |state: &mut State, _: &AllocatableResourcesRequest| state.allocatable();
            unary(&state, request, get).await
        }
        _ => Status::unimplemented("unknown service").into_http(),
    };
    Ok(response)
}

/// Decodes a request, and encodes the answer.
async fn unary<Q, A>(
    state: &Arc<Shared>,
    request: hyper::Request<Incoming>,
    answer: impl Fn(&mut State, &Q) -> Result<A, Status> + Send + Sync,
) -> hyper::Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let service = tower::service_fn(|request: Request<Q>| {
        let mut locked = state.lock();
        let answer = answer(&mut locked, request.get_ref());
        let hangs = locked.faults.hangs;
        drop(locked);
        state.called.notify_all();
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            answer.map(Response::new)
        }
    });
    Grpc::new(ProstCodec::<A, Q>::default())
        .unary(service, request)
        .await
}
