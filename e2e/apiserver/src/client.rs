//! A client for API servers that knows nothing of Kubernetes: HTTP/1.1 over TLS, one connection a request.

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

use super::kubeconfig::Kubeconfig;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client. It may be used by several threads.
#[derive(Debug)]
pub struct Client {
    runtime: Arc<Runtime>,
    tls: Arc<ClientConfig>,
    host: String,
    port: u16,
    server_name: ServerName<'static>,
    token: Option<String>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The HTTP status.
    pub code: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub text: String,
}

/// An answer that comes line by line, as those of watches do.
#[derive(Debug)]
pub struct Lines {
    runtime: Arc<Runtime>,
    body: Incoming,
    buffer: Vec<u8>,
    /// The HTTP status.
    pub code: u16,
}

/// What a line of [`Lines`] can be.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// A document.
    Document(Value),
    /// The answer ended as it should.
    End,
    /// The connection ended in the middle; what is left of a line is not told.
    Broken,
    /// Nothing came in time.
    Nothing,
}

impl Answered {
    /// The body as JSON. Panics where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The document, where the answer is a success.
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
    /// A client with these credentials.
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
                let certificates =
                    CertificateDer::pem_slice_iter(certificates).collect::<Result<_, _>>();
                let key = PrivateKeyDer::from_pem_slice(key).context("client-key")?;
                builder.with_client_auth_cert(certificates.context("client-certificate")?, key)?
            }
        };
        let server_name = config.server_name.as_deref().unwrap_or(host).to_owned();
        Ok(Self {
            runtime: Arc::new(
                runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()?,
            ),
            tls: Arc::new(tls),
            host: host.to_owned(),
            port,
            server_name: ServerName::try_from(server_name)?,
            token: config.token.clone(),
        })
    }

    /// The same with another token, or none.
    #[must_use]
    pub fn with_token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(str::to_owned);
        self
    }

    /// Sends a request. `body` has its media type; the headers are added to those that every request has.
    pub fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, &[u8])>,
    ) -> Result<Answered> {
        self.runtime.block_on(async {
            let exchange = async {
                let response = self.open(method, path, headers, body).await?;
                let (parts, body) = response.into_parts();
                let body = body.collect().await?.to_bytes();
                let text = String::from_utf8_lossy(&body).into_owned();
                Ok(Answered {
                    code: parts.status.as_u16(),
                    headers: parts.headers,
                    text,
                })
            };
            tokio::time::timeout(PATIENCE, exchange)
                .await
                .context("no answer in time")?
        })
    }

    /// `GET`.
    pub fn get(&self, path: &str) -> Result<Answered> {
        self.send("GET", path, &[], None)
    }

    /// `POST` of a JSON document.
    pub fn post(&self, path: &str, document: &Value) -> Result<Answered> {
        self.send(
            "POST",
            path,
            &[],
            Some(("application/json", document.to_string().as_bytes())),
        )
    }

    /// `PUT` of a JSON document.
    pub fn put(&self, path: &str, document: &Value) -> Result<Answered> {
        self.send(
            "PUT",
            path,
            &[],
            Some(("application/json", document.to_string().as_bytes())),
        )
    }

    /// `PATCH` with a JSON merge patch.
    pub fn merge(&self, path: &str, patch: &Value) -> Result<Answered> {
        self.send(
            "PATCH",
            path,
            &[],
            Some(("application/merge-patch+json", patch.to_string().as_bytes())),
        )
    }

    /// `DELETE`.
    pub fn delete(&self, path: &str) -> Result<Answered> {
        self.send("DELETE", path, &[], None)
    }

    /// `GET` of an answer that comes line by line.
    pub fn lines(&self, path: &str, headers: &[(&str, &str)]) -> Result<Lines> {
        let open =
            async { tokio::time::timeout(PATIENCE, self.open("GET", path, headers, None)).await };
        let response = self.runtime.block_on(open).context("no answer in time")??;
        let code = response.status().as_u16();
        Ok(Lines {
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

impl Lines {
    /// The next line, or what came in its place.
    pub fn next(&mut self, patience: Duration) -> Line {
        let end = Instant::now() + patience;
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.buffer.drain(..=at).collect();
                let text = String::from_utf8_lossy(&line);
                return Line::Document(
                    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
                );
            }
            let left = end.saturating_duration_since(Instant::now());
            let frame = async { tokio::time::timeout(left, self.body.frame()).await };
            match self.runtime.block_on(frame) {
                Err(_) => return Line::Nothing,
                Ok(None) => return Line::End,
                Ok(Some(Err(_))) => return Line::Broken,
                Ok(Some(Ok(frame))) => self
                    .buffer
                    .extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            }
        }
    }

    /// Whether a line has begun that has not ended.
    pub fn has_part_of_a_line(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next document. Panics where something else comes.
    pub fn document(&mut self) -> Value {
        match self.next(PATIENCE) {
            Line::Document(document) => document,
            other => panic!("no event but {other:?}"),
        }
    }
}
