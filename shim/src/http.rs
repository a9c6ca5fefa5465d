//! A minimal HTTP/1.1 client (RFC 9112) for one `POST /cni` over a Unix socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use plexus_api::json;

use crate::deadline::Deadline;

/// The largest response, in bytes: the largest result, with headers and framing.
const MAX_RESPONSE: usize = json::MAX_RESULT + (64 << 10);

/// The status of a daemon that is being replaced and has not started the call.
const SERVICE_UNAVAILABLE: u16 = 503;

#[derive(Debug, Clone)]
pub struct HttpResponse {
    pub status: u16,
    /// The body, without its transfer encoding.
    pub body: Vec<u8>,
}

/// A request without a response.
#[derive(Debug)]
pub enum HttpError {
    /// The connection failed, so the daemon did not receive the request.
    Connect(io::Error),
    /// The daemon did not start the call: the response says so, or the daemon did not read the
    /// whole request.
    NotStarted,
    /// There is no valid response, and the daemon may have started the call.
    NoResponse(io::Error),
}

/// A request, head and body. It can be sent several times.
#[derive(Debug, Clone)]
pub struct HttpRequest(Vec<u8>);

impl HttpRequest {
    pub fn post_cni(body: &[u8]) -> Self {
        let head = format!(
            "POST /cni HTTP/1.1\r\nHost: plexus\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        Self([head.as_bytes(), body].concat())
    }

    /// Connects to `socket`, sends the request and reads the response, all within `timeout`.
    pub fn send(&self, socket: &Path, timeout: Duration) -> Result<HttpResponse, HttpError> {
        let stream = connect(socket).map_err(HttpError::Connect)?;
        let mut exchange = Exchange {
            stream,
            deadline: Deadline::after(timeout),
        };
        // A daemon that refuses a request may respond and close before reading all of it, so the
        // response is read even if this fails. The write side stays open: the daemon would
        // treat a half-close as a disconnected caller.
        let written = exchange.write_all(&self.0);
        match read_response(&mut BufReader::new(exchange.take(MAX_RESPONSE as u64))) {
            Ok(response) if response.status == SERVICE_UNAVAILABLE => Err(HttpError::NotStarted),
            Ok(response) => Ok(response),
            // The peer closed the Unix socket without reading all data.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(HttpError::NotStarted)
            }
            Err(error) => Err(match written {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => HttpError::NotStarted,
                _ => HttpError::NoResponse(error),
            }),
        }
    }
}

/// Connects without blocking: a blocking connect to a full listen queue would never return.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A connection with one deadline for all reads and writes.
struct Exchange {
    stream: UnixStream,
    deadline: Deadline,
}

impl Exchange {
    fn map_timeout(&self, error: io::Error) -> io::Error {
        // The kernel reports a timeout of a socket as `EAGAIN`.
        if error.kind() == io::ErrorKind::WouldBlock {
            self.deadline.timed_out()
        } else {
            error
        }
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream
            .set_read_timeout(Some(self.deadline.remaining()?))?;
        self.stream
            .read(buffer)
            .map_err(|error| self.map_timeout(error))
    }
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream
            .set_write_timeout(Some(self.deadline.remaining()?))?;
        self.stream
            .write(bytes)
            .map_err(|error| self.map_timeout(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// Reads a response. The limit of `reader` is the largest length of a response.
fn read_response(reader: &mut BufReader<io::Take<impl Read>>) -> io::Result<HttpResponse> {
    let status = loop {
        let status = parse_status(&read_line(reader)?)?;
        if status >= 200 {
            break status;
        }
        while !read_line(reader)?.is_empty() {}
    };
    let mut framing = Framing::UntilClose;
    loop {
        let line = read_line(reader)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid("header without a colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(invalid("unknown transfer encoding"));
            }
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("content-length")
            && !matches!(framing, Framing::Chunked)
        {
            framing = Framing::Length(
                value
                    .parse()
                    .map_err(|_| invalid("invalid content length"))?,
            );
        }
    }
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) => read_exactly(reader, length, &mut body)?,
        Framing::Chunked => read_chunks(reader, &mut body)?,
        Framing::UntilClose => {
            reader.read_to_end(&mut body)?;
            if reader.get_ref().limit() == 0 {
                return Err(truncated());
            }
        }
    }
    Ok(HttpResponse { status, body })
}

fn parse_status(line: &str) -> io::Result<u16> {
    line.strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| invalid("no status line"))
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(reader)?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(digits, 16).map_err(|_| invalid("invalid chunk size"))?;
        if size == 0 {
            while !read_line(reader)?.is_empty() {}
            return Ok(());
        }
        read_exactly(reader, size, body)?;
        if !read_line(reader)?.is_empty() {
            return Err(invalid("chunk longer than its size"));
        }
    }
}

/// Reads a line, without its line break.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(truncated());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| invalid("header is not UTF-8"))
}

/// Reads `length` bytes. Does not allocate them in advance, because the length is not trusted.
fn read_exactly(reader: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = reader.take(length).read_to_end(body)?;
    if read as u64 == length {
        Ok(())
    } else {
        Err(truncated())
    }
}

fn truncated() -> io::Error {
    io::Error::new(
        io::ErrorKind::UnexpectedEof,
        format!("the connection was closed, or the response is longer than {MAX_RESPONSE} bytes"),
    )
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("invalid HTTP response: {reason}"),
    )
}

#[cfg(test)]
mod tests;
