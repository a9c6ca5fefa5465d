//! The image of pod sandboxes, with one program that does nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

/// The name of the image.
pub const IMAGE: &str = "localhost/pause:1";

const PROGRAM: &str = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n";

/// Writes the image to an archive in `dir` as `docker save` does. Needs a C compiler, which linking
/// Rust programs needs as well.
pub fn archive(dir: &Path) -> PathBuf {
    fs::create_dir_all(dir).expect("create the directory");
    fs::write(dir.join("pause.c"), PROGRAM).expect("write a file");
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
    fs::write(dir.join("config.json"), config.to_string()).expect("write a file");
    let manifest = json!([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]);
    fs::write(dir.join("manifest.json"), manifest.to_string()).expect("write a file");
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
