use std::convert::Infallible;
use std::future::{pending, ready};

use tower::{ServiceExt as _, service_fn};

use super::*;

#[test]
fn verb_and_resource_are_those_of_the_api_server() {
    for (method, uri, verb, resource) in [
        (
            "GET",
            "/api/v1/pods?fieldSelector=spec.nodeName%3Dn&watch=true",
            "watch",
            "pods",
        ),
        ("GET", "/api/v1/pods?limit=500", "list", "pods"),
        (
            "GET",
            "/api/v1/namespaces/ns/pods?limit=500",
            "list",
            "pods",
        ),
        ("GET", "/api/v1/namespaces/ns/pods/web", "get", "pods"),
        (
            "PATCH",
            "/api/v1/namespaces/ns/pods/web/status",
            "patch",
            "pods/status",
        ),
        (
            "POST",
            "/apis/events.k8s.io/v1/namespaces/ns/events",
            "create",
            "events",
        ),
        (
            "GET",
            "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions?watch=1",
            "watch",
            "network-attachment-definitions",
        ),
        ("GET", "/api/v1/namespaces/ns", "get", "namespaces"),
        ("GET", "/api/v1/namespaces", "list", "namespaces"),
        ("GET", "/version", "get", "other"),
        ("GET", "/api", "get", "other"),
    ] {
        let info = RequestInfo::new(
            &method.parse().expect("a method"),
            &uri.parse().expect("a URI"),
        );
        assert_eq!(
            info,
            RequestInfo {
                verb,
                resource: resource.to_owned()
            },
            "{method} {uri}"
        );
    }
}

fn request() -> Request<()> {
    Request::patch("/api/v1/namespaces/ns/pods/web/status")
        .body(())
        .expect("a request")
}

#[tokio::test]
async fn each_request_counts_once_by_its_outcome() {
    let metrics = Arc::new(Metrics::new(false));
    let layer = ApiLayer::new(metrics.clone());

    let refuses = layer.layer(service_fn(|_: Request<()>| {
        ready(Ok::<_, Infallible>(
            Response::builder()
                .status(422)
                .body(())
                .expect("a response"),
        ))
    }));
    refuses.oneshot(request()).await.expect("a response");
    let fails = layer.layer(service_fn(|_: Request<()>| {
        ready(Err::<Response<()>, _>("no route to host"))
    }));
    fails.oneshot(request()).await.expect_err("no response");
    let hangs = layer.layer(service_fn(|_: Request<()>| {
        pending::<Result<Response<()>, Infallible>>()
    }));
    let waiting = tokio::spawn(hangs.oneshot(request()));
    tokio::task::yield_now().await;
    waiting.abort();
    waiting.await.expect_err("the request was dropped");

    let scrape = metrics.encode();
    for code in ["422", "error", "abandoned"] {
        let series = format!(
            r#"plexus_api_requests_total{{code="{code}",resource="pods/status",verb="patch"}} 1"#
        );
        assert!(
            scrape.lines().any(|line| line == series),
            "{series} in\n{scrape}"
        );
    }
    let all = r#"plexus_api_request_duration_seconds_count{resource="pods/status",verb="patch"} 3"#;
    assert!(scrape.lines().any(|line| line == all), "{scrape}");
}
