//! A minimal HTTP client for the daemon's socket and its metrics port.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_mins(2);

/// A response of the daemon.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

/// Sends these bytes on a new connection and reads the response until the connection is closed.
pub fn exchange(socket: &Path, request: &[u8]) -> io::Result<Reply> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    exchange_on(stream, request)
}

/// The same over TCP.
pub fn exchange_tcp(address: SocketAddr, request: &[u8]) -> io::Result<Reply> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    exchange_on(stream, request)
}

fn exchange_on(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Reply> {
    // A daemon that rejects a request early may not read all of it, but responds all the same.
    let sent = stream.write_all(request);
    let mut response = Vec::new();
    match stream.read_to_end(&mut response) {
        Err(error) if response.is_empty() => return Err(sent.err().unwrap_or(error)),
        _ => {}
    }
    parse(&response).ok_or_else(|| {
        let text = String::from_utf8_lossy(&response);
        io::Error::other(format!("not an HTTP response: {text:?}"))
    })
}

/// The bytes of a request for [`exchange`].
pub fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: plexus\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

fn parse(response: &[u8]) -> Option<Reply> {
    let end = response
        .windows(4)
        .position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&response[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &response[end + 4..];
    let chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    let body = if chunked {
        joined_chunks(body)?
    } else {
        body.to_vec()
    };
    Some(Reply {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn joined_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 2 + size + 2..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_responses_with_and_without_chunks() {
        let plain =
            parse(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nhi").expect("a response");
        assert_eq!((plain.status, plain.body.as_str()), (204, "hi"));
        let chunked =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(parse(chunked).expect("a response").body, "abc");
        assert!(parse(b"garbage").is_none());
    }
}
