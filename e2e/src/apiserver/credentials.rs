//! The files by which clients find the server and show who they are.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Writes a kubeconfig into `dir`.
pub fn kubeconfig(dir: &Path, url: &str, ca: &str, token: &str) -> PathBuf {
    let cluster = json!({"server": url, "certificate-authority-data": STANDARD.encode(ca)});
    write_kubeconfig(dir, &cluster, &json!({"token": token}))
}

/// Writes a kubeconfig with this cluster and user into `dir`.
pub fn write_kubeconfig(dir: &Path, cluster: &Value, user: &Value) -> PathBuf {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "e2e", "cluster": cluster}],
        "users": [{"name": "e2e", "user": user}],
        "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
        "current-context": "e2e",
    });
    fs::create_dir_all(dir).expect("the directory can be made");
    let path = dir.join("kubeconfig");
    replace(&path, &config.to_string());
    path
}

/// Writes the files of a service account into `dir`.
pub fn service_account(dir: &Path, ca: &str, token: &str, namespace: &str) {
    fs::create_dir_all(dir).expect("the directory can be made");
    for (file, text) in [("ca.crt", ca), ("namespace", namespace), ("token", token)] {
        replace(&dir.join(file), text);
    }
}

/// Who reads the file never sees half of it.
fn replace(path: &Path, text: &str) {
    let temporary = path.with_extension("new");
    fs::write(&temporary, text).and_then(|()| fs::rename(&temporary, path)).expect("a file can be written");
}
