//! The image of `make image`.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use plexus_e2e::skip;
use serde_json::{Value, json};

use crate::containerd::{self, archive, missing, run, run_container};

#[test]
fn the_image_contains_only_the_two_programs_and_containerd_runs_it() {
    if let Some(missing) = missing() {
        skip!("{missing}");
    }
    let blob = |name: &str| {
        let mut command = Command::new("tar");
        command.arg("-xOf").arg(archive()).arg(name);
        command
    };
    let json = |name: &str| -> Value { serde_json::from_str(&run(&mut blob(name))).expect("JSON") };
    let path = |digest: &Value| {
        format!(
            "blobs/{}",
            digest.as_str().expect("a digest").replace(':', "/")
        )
    };
    // The image is an index with a manifest for each architecture.
    let index = json(&path(&json("index.json")["manifests"][0]["digest"]));
    let [manifest] = &index["manifests"].as_array().expect("manifests")[..] else {
        panic!("{index:#}")
    };
    let expected = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        _ => "amd64",
    };
    assert_eq!(manifest["platform"]["architecture"], expected);
    let manifest = json(&path(&manifest["digest"]));
    let [layer] = &manifest["layers"].as_array().expect("layers")[..] else {
        panic!("{manifest:#}")
    };
    let mut layer = blob(&path(&layer["digest"]))
        .stdout(Stdio::piped())
        .spawn()
        .expect("execute tar");
    let files = run(Command::new("tar")
        .arg("-tz")
        .stdin(layer.stdout.take().expect("stdout is piped")));
    layer.wait().expect("wait for tar");
    assert_eq!(
        files.lines().collect::<BTreeSet<_>>(),
        ["plexus", "plexusd"].into()
    );
    let config = json(&path(&manifest["config"]["digest"]));
    assert_eq!(config["config"]["Entrypoint"], json!(["/plexusd"]));
    let labels = &config["config"]["Labels"];
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(labels["org.opencontainers.image.version"], version);
    assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
    // The time of the build would change the checksum of the archive.
    let members = run(Command::new("tar").args(["--utc", "-tvf"]).arg(archive()));
    assert!(
        members
            .lines()
            .all(|line| line.contains(" 1970-01-01 00:00 ")),
        "{members}"
    );

    let node = plexus_e2e::node!();
    let containerd = containerd::start(&node);
    let printed = run_container(&containerd, "daemon", &["/plexusd", "--version"]);
    let expected = format!("plexusd {version} (");
    assert!(printed.starts_with(&expected), "{printed}");
    // The shim that the daemon installs.
    assert!(
        run_container(&containerd, "shim", &["/plexus", "--version"])
            .contains(env!("CARGO_PKG_VERSION"))
    );
}
