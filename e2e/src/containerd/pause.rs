//! The image of a pod's sandbox: one program that does nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

/// Its name.
pub const IMAGE: &str = "localhost/pause:1";

const PROGRAM: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

/// Makes the archive in `dir`, as `docker save` does. It takes a C compiler, which linking Rust takes as well.
pub fn archive(dir: &Path) -> PathBuf {
    fs::create_dir_all(dir).expect("it can be made");
    fs::write(dir.join("pause.c"), PROGRAM).expect("it can be written");
    run(dir, "cc -static -O1 -o pause pause.c");
    run(dir, "tar -cf layer.tar pause");
    let digest = run(dir, "sha256sum layer.tar");
    let digest = digest.split(' ').next().unwrap_or_default();
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": arch, "os": "linux", "config": {"Entrypoint": ["/pause"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    });
    fs::write(dir.join("config.json"), config.to_string()).expect("it can be written");
    let manifest = json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
    fs::write(dir.join("manifest.json"), manifest.to_string()).expect("it can be written");
    run(dir, "tar -cf image.tar manifest.json config.json layer.tar");
    dir.join("image.tar")
}

fn run(dir: &Path, command: &str) -> String {
    let words: Vec<_> = command.split(' ').collect();
    let output = Command::new(words[0])
        .args(&words[1..])
        .current_dir(dir)
        .output();
    let output = output.unwrap_or_else(|error| panic!("{command}: {error}"));
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
