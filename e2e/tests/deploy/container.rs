//! A container with the image, mounts, configuration and privileges of the DaemonSet. A directory
//! of manifests replaces the cluster.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use plexus_e2e::{Containerd, Flavour, Node, Pod, Runtime, Script, Step, skip};
use serde_json::{Value, json};

use crate::containerd::{self, missing, start_container};
use crate::objects::{Objects, root};

/// How long a container may take to become ready.
const TIMEOUT: Duration = Duration::from_secs(30);

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is not a string"))
}

/// Starts a container of the DaemonSet with `subcommand` as its first argument. `bin` replaces
/// /opt/cni/bin, as on some distributions.
fn start(containerd: &Containerd, node: &Node, id: &str, subcommand: &str, bin: &Path) {
    let objects = Objects::of_node();
    let (pod, container) = (objects.pod_spec(), objects.container());
    let manifests = node.scratch().join("manifests");
    let mut mounts = vec![(manifests.clone(), "/manifests".to_owned(), "ro")];
    for mount in container["volumeMounts"].as_array().expect("mounts") {
        let source = match text(&mount["name"]) {
            "config" => root("deploy/node"),
            "cni-bin" => bin.to_owned(),
            name => objects.host_path(name).into(),
        };
        // kubelet creates missing directories.
        node.run(|| fs::create_dir_all(&source))
            .expect("create the directory");
        mounts.push((
            source,
            text(&mount["mountPath"]).to_owned(),
            if mount["readOnly"] == true {
                "ro"
            } else {
                "rw"
            },
        ));
    }
    fs::create_dir_all(manifests).expect("create the directory");
    let mount = |(from, to, how): (std::path::PathBuf, String, &str)| {
        [
            "--mount".to_owned(),
            format!(
                "type=bind,src={},dst={to},options=rbind:{how}",
                from.display()
            ),
        ]
    };
    let mut options: Vec<String> = mounts.into_iter().flat_map(mount).collect();
    assert_eq!(pod["hostNetwork"], true);
    options.push("--net-host".into());
    assert_eq!(pod["hostPID"], true);
    options.extend([
        "--with-ns".into(),
        format!("pid:/proc/{}/ns/pid", std::process::id()),
    ]);
    let security = &container["securityContext"];
    assert_eq!(
        (&security["privileged"], &security["readOnlyRootFilesystem"]),
        (&json!(true), &json!(true))
    );
    options.extend(["--privileged".into(), "--read-only".into()]);
    let mut command = vec![text(&container["command"][0]), subcommand];
    command.extend(
        container["args"]
            .as_array()
            .expect("arguments")
            .iter()
            .skip(1)
            .map(text),
    );
    command.extend(["--manifests", "/manifests"]);
    start_container(
        containerd,
        id,
        &options.iter().map(String::as_str).collect::<Vec<_>>(),
        &command,
    );
}

/// Runs the container's readiness probe. Returns whether it succeeds, and its output.
fn probe_ready(containerd: &Containerd, id: &str) -> (bool, String) {
    let objects = Objects::of_node();
    let probe = objects.container()["readinessProbe"]["exec"]["command"]
        .as_array()
        .expect("a command");
    let probe: Vec<_> = probe.iter().map(text).collect();
    containerd.try_ctr(&[&["task", "exec", "--exec-id", "probe", id], &probe[..]].concat())
}

/// Waits until the probe succeeds, or until its output contains `words`.
fn wait(containerd: &Containerd, id: &str, words: Option<&str>) {
    let end = Instant::now() + TIMEOUT;
    loop {
        let (success, output) = probe_ready(containerd, id);
        if words.map_or(success, |words| output.contains(words)) {
            return;
        }
        assert!(Instant::now() < end, "{id} is not ready: {output}");
    }
}

#[test]
fn a_container_of_the_daemon_set_serves_and_uninstalls() {
    plexus_api::rows!("C-20", "C-25");
    if let Some(missing) = missing() {
        skip!("{missing}");
    }
    let node = plexus_e2e::node!();
    let bin = node.scratch().join("cni-bin");
    let net_d = Path::new("/etc/cni/net.d");
    let published = || node.run(|| net_d.join("00-plexus.conflist").exists());
    node.plugin(
        "main",
        &Script::new()
            .on("ADD", [Step::link()])
            .on("DEL", [Step::Unlink]),
    );
    let network = json!({"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "main"}]});
    node.run(|| {
        fs::create_dir_all(net_d)?;
        fs::write(net_d.join("10-pods.conflist"), network.to_string())
    })
    .expect("write the file");
    let containerd = containerd::start(&node);

    start(&containerd, &node, "serve", "serve", &bin);
    wait(&containerd, "serve", None);
    assert!(published() && bin.join("plexus").exists());
    // The runtime executes the shim on the node. The sandbox and the plugin are not in the
    // container.
    let list = node
        .run(|| fs::read(net_d.join("00-plexus.conflist")))
        .expect("read the file");
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    let mut config = list["plugins"][0].clone();
    (config["cniVersion"], config["name"]) = (list["cniVersion"].clone(), list["name"].clone());
    let runtime = Runtime::new(&node, Flavour::Containerd, bin.join("plexus"), config);
    let sandbox = node.sandbox("web");
    let target = sandbox.target(&Pod::new("web"));
    runtime.add(&target).result();
    assert!(sandbox.link("eth0").is_some());
    runtime.check(&target).expect_success();

    // The container with the other subcommand starts beside the first one, as in a rolling update
    // with a surge.
    start(&containerd, &node, "uninstall", "uninstall", &bin);
    wait(&containerd, "uninstall", Some("deleted: pod default/web"));
    assert!(
        !published() && bin.join("plexus").exists(),
        "the attached pod can still be deleted"
    );
    runtime.del(&target).expect_success();
    assert!(sandbox.link("eth0").is_none());
    wait(&containerd, "uninstall", None);
    assert!(!bin.join("plexus").exists());
    assert!(node.run(|| net_d.join("10-pods.conflist").exists()));
}
