//! The image of `make image`, as containerd takes it. Skipped without static programs in `dist/`, buildah and containerd.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use plexus_e2e::skip;
use serde_json::{Value, json};

use crate::objects::root;

const IMAGE: &str = concat!("localhost/plexus:", env!("CARGO_PKG_VERSION"));

/// What is missing here.
fn missing() -> Option<String> {
    for program in ["dist/plexus", "dist/plexusd"] {
        if !root(program).exists() {
            return Some(format!("{program} is missing: make build"));
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<_> = std::env::split_paths(&path).chain(["/usr/sbin".into()]).collect();
    let has = |program: &&str| dirs.iter().any(|dir| dir.join(program).exists());
    if let Some(program) = ["make", "buildah", "containerd", "ctr", "runc"].into_iter().find(|program| !has(program)) {
        return Some(format!("{program} is missing"));
    }
    (!nix::unistd::geteuid().is_root()).then(|| "containerd needs root".to_owned())
}

/// Its stdout. Panics if it fails.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout.into_owned()
}

/// A containerd of the test's own.
struct Containerd(Child);

impl Containerd {
    fn start(dir: &Path) -> Self {
        let config = json!({"root": dir.join("root"), "state": dir.join("state")});
        let text = format!(
            "version = 2\nroot = {}\nstate = {}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {}\n",
            config["root"],
            config["state"],
            json!(socket(dir)),
        );
        std::fs::write(dir.join("config.toml"), text).expect("it can be written");
        let mut command = Command::new("containerd");
        command.arg("--config").arg(dir.join("config.toml")).stdout(Stdio::null()).stderr(Stdio::piped());
        // Its drop ends it, also where it does not start.
        let mut containerd = Self(command.spawn().expect("containerd can be executed"));
        let mut log = BufReader::new(containerd.0.stderr.take().expect("it is piped"));
        let (mut line, mut all) = (String::new(), String::new());
        while log.read_line(&mut line).is_ok_and(|read| read > 0) {
            if line.contains("containerd successfully booted") {
                // Nobody must block it by not reading on.
                std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
                return containerd;
            }
            all.push_str(&std::mem::take(&mut line));
        }
        panic!("containerd does not start:\n{all}");
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn socket(dir: &Path) -> std::path::PathBuf {
    dir.join("containerd.sock")
}

#[test]
fn containerd_runs_the_image_and_there_is_nothing_but_the_programs_in_it() {
    if let Some(missing) = missing() {
        skip!("{missing}");
    }
    // What was built is packed, not built again.
    let target = plexus_e2e::binaries::target_dir();
    run(Command::new("make").args(["-o", "build", "image"]).current_dir(root("")).env("CARGO_TARGET_DIR", target));
    let archive = root("dist/plexus-image.tar");
    let blob = |name: &str| {
        let mut command = Command::new("tar");
        command.arg("-xOf").arg(&archive).arg(name);
        command
    };
    let json = |name: &str| -> Value { serde_json::from_str(&run(&mut blob(name))).expect("JSON") };
    let path = |digest: &Value| format!("blobs/{}", digest.as_str().expect("a digest").replace(':', "/"));
    let manifest = json(&path(&json("index.json")["manifests"][0]["digest"]));
    let [layer] = &manifest["layers"].as_array().expect("layers")[..] else { panic!("{manifest:#}") };
    let mut layer = blob(&path(&layer["digest"])).stdout(Stdio::piped()).spawn().expect("tar can be executed");
    let files = run(Command::new("tar").arg("-tz").stdin(layer.stdout.take().expect("it is piped")));
    layer.wait().expect("tar ends");
    assert_eq!(files.lines().collect::<BTreeSet<_>>(), ["plexus", "plexusd"].into());
    let config = json(&path(&manifest["config"]["digest"]));
    assert_eq!(config["config"]["Entrypoint"], json!(["/plexusd"]));

    let dir = tempfile::tempdir().expect("a directory");
    let _containerd = Containerd::start(dir.path());
    let ctr = |args: &[&str]| {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(socket(dir.path())).args(args);
        run(&mut command)
    };
    ctr(&["images", "import", archive.to_str().expect("text")]);
    let run = |id: &str, command: &[&str]| {
        let args = ["run", "--rm", "--read-only", "--snapshotter", "native", IMAGE, id];
        ctr(&[&args[..], command].concat())
    };
    assert_eq!(run("daemon", &["/plexusd", "--version"]).trim(), concat!("plexusd ", env!("CARGO_PKG_VERSION")));
    // The shim that the daemon installs is beside it, and static as well.
    assert!(run("shim", &["/plexus", "--version"]).contains(env!("CARGO_PKG_VERSION")));
}
