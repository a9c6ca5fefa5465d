//! A client for API servers: plain HTTP/1.1 over TLS, without knowledge of Kubernetes. One
//! connection per request.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::body::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::kubeconfig::Kubeconfig;

/// The timeout of a response, and of the next event of a watch.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A client with the credentials of one user. Threads may share it.
#[derive(Debug)]
pub struct Client {
    runtime: Arc<Runtime>,
    tls: Arc<ClientConfig>,
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    token: Option<String>,
}

/// A complete response.
#[derive(Debug, Clone)]
pub struct ClientResponse {
    /// The HTTP status.
    pub code: u16,
    /// The HTTP headers.
    pub headers: HeaderMap,
    /// The body.
    pub text: String,
}

/// The response to a watch, with one JSON document per line.
#[derive(Debug)]
pub struct LineStream {
    runtime: Arc<Runtime>,
    body: Incoming,
    buffer: Vec<u8>,
    /// The HTTP status.
    pub code: u16,
}

/// The result of [`LineStream::next`].
#[derive(Debug, Clone, PartialEq)]
pub enum StreamItem {
    /// A complete line.
    Document(Value),
    /// The regular end of the response.
    End,
    /// The connection ended before the response.
    Broken,
    /// Nothing was received before the timeout.
    Timeout,
}

impl ClientResponse {
    /// The body as JSON. Panics if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The body of a successful response as JSON.
    pub fn success(&self) -> Result<Value> {
        anyhow::ensure!(
            (200..300).contains(&self.code),
            "{} {}",
            self.code,
            self.text
        );
        Ok(serde_json::from_str(&self.text)?)
    }
}

impl Client {
    /// A client with the address and credentials of a kubeconfig.
    pub fn new(config: &Kubeconfig) -> Result<Self> {
        let (host, port) = config.host_and_port()?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&config.ca) {
            roots.add(certificate.context("certificate-authority")?)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let tls = match &config.identity {
            None => builder.with_no_client_auth(),
            Some((certificates, key)) => {
                let certificates = CertificateDer::pem_slice_iter(certificates)
                    .collect::<Result<_, _>>()
                    .context("client-certificate")?;
                let key = PrivateKeyDer::from_pem_slice(key).context("client-key")?;
                builder.with_client_auth_cert(certificates, key)?
            }
        };
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let server_name = config.server_name.as_deref().unwrap_or(host).to_owned();
        Ok(Self {
            runtime: Arc::new(runtime),
            tls: Arc::new(tls),
            host: host.to_owned(),
            port,
            server_name: ServerName::try_from(server_name)?,
            token: config.token.clone(),
        })
    }

    /// Replaces or removes the token.
    #[must_use]
    pub fn with_token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(str::to_owned);
        self
    }

    /// Sends a request. `body` is the media type and the content; `headers` are additional ones.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
    ) -> Result<ClientResponse> {
        let exchange = async {
            let response = self.open(method, path, headers, body).await?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(ClientResponse {
                code: parts.status.as_u16(),
                headers: parts.headers,
                text: String::from_utf8_lossy(&body).into_owned(),
            })
        };
        self.runtime
            .block_on(async { tokio::time::timeout(TIMEOUT, exchange).await })
            .context("timeout while waiting for a response")?
    }

    /// Sends a `GET` request.
    pub fn get(&self, path: &str) -> Result<ClientResponse> {
        self.send("GET", path, &[], None)
    }

    /// Sends a `POST` request with a JSON document.
    pub fn post(&self, path: &str, document: &Value) -> Result<ClientResponse> {
        self.send_json("POST", path, "application/json", document)
    }

    /// Sends a `PUT` request with a JSON document.
    pub fn put(&self, path: &str, document: &Value) -> Result<ClientResponse> {
        self.send_json("PUT", path, "application/json", document)
    }

    /// Sends a `PATCH` request with a JSON merge patch.
    pub fn merge_patch(&self, path: &str, patch: &Value) -> Result<ClientResponse> {
        self.send_json("PATCH", path, "application/merge-patch+json", patch)
    }

    /// Sends a `DELETE` request.
    pub fn delete(&self, path: &str) -> Result<ClientResponse> {
        self.send("DELETE", path, &[], None)
    }

    /// Sends a request with a JSON document of this media type.
    pub fn send_json(
        &self,
        method: &str,
        path: &str,
        media_type: &str,
        document: &Value,
    ) -> Result<ClientResponse> {
        let body = document.to_string();
        self.send(method, path, &[], Some((media_type, body.as_bytes())))
    }

    /// Sends a `GET` request and returns its response line by line.
    pub fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Result<LineStream> {
        let open =
            async { tokio::time::timeout(TIMEOUT, self.open("GET", path, headers, None)).await };
        let response = self
            .runtime
            .block_on(open)
            .context("timeout while waiting for a response")??;
        let code = response.status().as_u16();
        Ok(LineStream {
            runtime: self.runtime.clone(),
            body: response.into_body(),
            buffer: Vec::new(),
            code,
        })
    }

    async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
    ) -> Result<Response<Incoming>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let stream = TlsConnector::from(self.tls.clone())
            .connect(self.server_name.clone(), stream)
            .await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("accept"))
        {
            request = request.header(ACCEPT, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some((media_type, _)) = body {
            request = request.header(CONTENT_TYPE, media_type);
        }
        let body = Bytes::copy_from_slice(body.map_or(&[], |(_, body)| body));
        Ok(sender.send_request(request.body(Full::new(body))?).await?)
    }
}

impl LineStream {
    /// Waits for the next line.
    pub fn next(&mut self, timeout: Duration) -> StreamItem {
        let end = Instant::now() + timeout;
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.buffer.drain(..=at).collect();
                let text = String::from_utf8_lossy(&line);
                return StreamItem::Document(
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
                );
            }
            let left = end.saturating_duration_since(Instant::now());
            let frame = async { tokio::time::timeout(left, self.body.frame()).await };
            match self.runtime.block_on(frame) {
                Err(_) => return StreamItem::Timeout,
                Ok(None) => return StreamItem::End,
                Ok(Some(Err(_))) => return StreamItem::Broken,
                Ok(Some(Ok(frame))) => {
                    let data = frame.data_ref().map_or(&[][..], |data| data);
                    self.buffer.extend_from_slice(data);
                }
            }
        }
    }

    /// Whether an incomplete line was received.
    pub fn has_partial_line(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next document. Panics if the stream ends or on timeout.
    pub fn document(&mut self) -> Value {
        match self.next(TIMEOUT) {
            StreamItem::Document(document) => document,
            other => panic!("expected a document, got {other:?}"),
        }
    }
}
