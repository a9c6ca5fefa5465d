//! The service of the pod-resources API.

use std::sync::Arc;

use prost::Message;
use tonic::Status;

use crate::Shared;
use crate::message::{AllocatableResourcesRequest, ListPodResourcesRequest};
use crate::server::{HttpRequest, HttpResponse, unary};
use crate::state::State;

pub(crate) async fn answer(state: Arc<Shared>, request: HttpRequest) -> HttpResponse {
    let method = request.uri().path().strip_prefix("/v1.PodResourcesLister/");
    match method {
        Some("Get") => call(&state, request, State::get).await,
        Some("List") => {
            let list = |state: &mut State, _: &ListPodResourcesRequest| state.list();
            call(&state, request, list).await
        }
        Some("GetAllocatableResources") => {
            let get = |state: &mut State, _: &AllocatableResourcesRequest| state.allocatable();
            call(&state, request, get).await
        }
        _ => Status::unimplemented("unknown service").into_http(),
    }
}

async fn call<Q, A>(
    state: &Arc<Shared>,
    request: HttpRequest,
    answer: impl Fn(&mut State, &Q) -> Result<A, Status> + Send + Sync,
) -> HttpResponse
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let answer = |request: Q| {
        let mut locked = state.lock();
        let answer = answer(&mut locked, &request);
        let hangs = locked.faults.hangs;
        drop(locked);
        state.called.notify_all();
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            answer
        }
    };
    unary(request, answer).await
}
