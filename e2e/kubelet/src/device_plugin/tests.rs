use std::fs;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::UnixSocket;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::message::{
    AllocateRequest, AllocateResponse, ContainerDevices, DevicePluginOptions, Empty,
    RegisterRequest,
};
use super::{DevicePlugin, call};
use crate::server;

/// Serves as kubelet, and sends each registration to `registered`. As of kubelet, the socket exists
/// before the process listens.
async fn kubelet(dir: &Path, registered: mpsc::Sender<RegisterRequest>) -> CancellationToken {
    let stop = CancellationToken::new();
    let path = dir.join("kubelet.sock");
    let _ = fs::remove_file(&path);
    let socket = UnixSocket::new_stream().expect("a socket");
    socket.bind(&path).expect("bind");
    sleep(Duration::from_millis(50)).await;
    let listener = socket.listen(1).expect("listen");
    let server = server::serve(listener, stop.clone(), move |request| {
        let registered = registered.clone();
        async move {
            server::unary(request, |request| async {
                registered.send(request).await.expect("the test waits");
                Ok(Empty {})
            })
            .await
        }
    });
    tokio::spawn(server);
    stop
}

#[tokio::test]
async fn a_plugin_registers_with_each_kubelet_process_and_serves_again() {
    let root = TempDir::new().expect("a directory");
    let dir = root.path().join("device-plugins");
    fs::create_dir(&dir).expect("create the directory");
    let devices = ["a", "b=0,1"].map(|one| one.parse().expect("a device"));
    let plugin = DevicePlugin::new(root.path(), "example.com/vf", devices.into());
    let (sender, mut registered) = mpsc::channel(1);
    let mut process = kubelet(&dir, sender.clone()).await;
    let plugin = tokio::spawn(plugin.run());
    for _ in 0..2 {
        let registered = timeout(Duration::from_mins(1), registered.recv());
        let request = registered.await.expect("in time").expect("a request");
        let options = DevicePluginOptions {
            pre_start_required: true,
            get_preferred_allocation_available: true,
        };
        let expected = RegisterRequest {
            version: "v1beta1".to_owned(),
            endpoint: "example.com_vf.sock".to_owned(),
            resource_name: "example.com/vf".to_owned(),
            options: Some(options),
        };
        assert_eq!(request, expected);

        let socket = dir.join(&request.endpoint);
        let container = ContainerDevices {
            ids: vec!["b".to_owned(), "a".to_owned()],
        };
        let request = AllocateRequest {
            containers: vec![container],
        };
        let answer = call(&socket, "/v1beta1.DevicePlugin/Allocate", request);
        let answer: AllocateResponse = answer.await.expect("an answer");
        let variable = ("PCIDEVICE_EXAMPLE_COM_VF".to_owned(), "b,a".to_owned());
        assert_eq!(answer.containers[0].envs, [variable].into());

        // A new process removes the sockets of all plugins.
        process.cancel();
        fs::remove_file(&socket).expect("remove the socket");
        process = kubelet(&dir, sender.clone()).await;
    }
    assert!(!plugin.is_finished(), "{:?}", plugin.await);
}
