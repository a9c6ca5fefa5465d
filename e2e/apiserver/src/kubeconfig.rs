//! Reading and writing kubeconfig files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// The cluster and the user of the current context. Files that the kubeconfig refers to have been
/// read.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// `https://HOST:PORT`.
    pub server: String,
    /// The name that the server's certificate must have; `None` for the host.
    pub server_name: Option<String>,
    /// The certificates of the CA, as PEM.
    pub ca: Vec<u8>,
    /// A bearer token.
    pub token: Option<String>,
    /// The certificate and the key of the user, as PEM.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Kubeconfig {
    /// Reads a kubeconfig.
    ///
    /// # Errors
    /// If the file is unreadable or incomplete, or if its credentials come from another program.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let file: Value =
            serde_yaml_ng::from_str(&text).with_context(|| path.display().to_string())?;
        let dir = path.parent().unwrap_or(Path::new("."));
        let context = named(&file, "contexts", "context", &file["current-context"])?;
        let cluster = named(&file, "clusters", "cluster", &context["cluster"])?;
        let user = named(&file, "users", "user", &context["user"])?;
        if !user["exec"].is_null() || !user["auth-provider"].is_null() {
            bail!(
                "{}: credentials from a program are not supported; use a token or a client certificate",
                path.display()
            );
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let token = match (text(&user["token"]), text(&user["tokenFile"])) {
            (None, Some(file)) => Some(fs::read_to_string(dir.join(file))?.trim().to_owned()),
            (token, _) => token,
        };
        let identity = data(dir, user, "client-certificate")?.zip(data(dir, user, "client-key")?);
        Ok(Self {
            server: text(&cluster["server"])
                .context("the kubeconfig has no server for the cluster")?,
            server_name: text(&cluster["tls-server-name"]),
            ca: data(dir, cluster, "certificate-authority")?
                .context("the kubeconfig has no certificate-authority for the cluster")?,
            token,
            identity,
        })
    }

    /// The host and the port of the server.
    pub fn host_and_port(&self) -> Result<(&str, u16)> {
        let authority = self
            .server
            .strip_prefix("https://")
            .context("the address of the server does not begin with https://")?;
        let authority = authority.split('/').next().unwrap_or_default();
        match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                Ok((host.trim_matches(['[', ']']), port.parse()?))
            }
            _ => Ok((authority, 443)),
        }
    }

    /// Writes the file `kubeconfig` into `dir`, which is created if necessary.
    pub fn write(&self, dir: &Path) -> PathBuf {
        let mut cluster =
            json!({"server": self.server, "certificate-authority-data": STANDARD.encode(&self.ca)});
        if let Some(name) = &self.server_name {
            cluster["tls-server-name"] = name.clone().into();
        }
        let mut user = json!({});
        if let Some(token) = &self.token {
            user["token"] = token.clone().into();
        }
        if let Some((certificate, key)) = &self.identity {
            user["client-certificate-data"] = STANDARD.encode(certificate).into();
            user["client-key-data"] = STANDARD.encode(key).into();
        }
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": "e2e", "user": user}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
            "current-context": "e2e",
        });
        fs::create_dir_all(dir).expect("the directory must be writable");
        let path = dir.join("kubeconfig");
        fs::write(&path, config.to_string()).expect("the directory must be writable");
        path
    }
}

/// The field `key` of the entry `name` in a list.
fn named<'a>(file: &'a Value, list: &str, key: &str, name: &Value) -> Result<&'a Value> {
    file[list]
        .as_array()
        .into_iter()
        .flatten()
        .find(|entry| entry["name"] == *name)
        .map(|entry| &entry[key])
        .with_context(|| format!("{list} has no entry {name}"))
}

/// The content of `KEY-data`, which is base64, or of the file that `KEY` names. Returns `None` if
/// there is neither.
fn data(dir: &Path, section: &Value, key: &str) -> Result<Option<Vec<u8>>> {
    if let Some(text) = section[format!("{key}-data")].as_str() {
        return Ok(Some(
            STANDARD
                .decode(text)
                .with_context(|| format!("{key}-data"))?,
        ));
    }
    let Some(file) = section[key].as_str() else {
        return Ok(None);
    };
    Ok(Some(
        fs::read(dir.join(file)).with_context(|| format!("{key}: {file}"))?,
    ))
}
