//! One `POST /cni` over a Unix socket, in HTTP/1.1 (RFC 9112): as much of a client as one exchange with the daemon
//! takes.

use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use plexus_api::json;

/// The largest answer with its headers, in bytes: the largest result, and some room around it.
const MAX_ANSWER: usize = json::MAX_RESULT + (64 << 10);

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body, without its transfer encoding.
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug)]
pub enum Failure {
    /// There was no connection, so the daemon has seen nothing.
    Connect(io::Error),
    /// There was one, and the daemon may have seen the request.
    NoAnswer(io::Error),
}

/// The bytes of a request, head and body, to be sent as often as it takes.
#[derive(Debug, Clone)]
pub struct Request(Arc<[u8]>);

impl Request {
    /// A request that carries `body`.
    pub fn post_cni(body: &[u8]) -> Self {
        let head = format!(
            "POST /cni HTTP/1.1\r\nHost: plexus\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        Self([head.as_bytes(), body].concat().into())
    }

    /// Connects to `socket`, sends the request and reads the answer.
    ///
    /// It runs on a thread of its own, because the kernel lets a connect to a daemon that accepts nothing wait for
    /// ever, and because the deadline holds for the whole exchange, not for each read.
    pub fn send(&self, socket: &Path, deadline: Duration) -> Result<Answer, Failure> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let (socket, request) = (socket.to_owned(), Arc::clone(&self.0));
        thread::Builder::new()
            .spawn(move || {
                // The receiver is gone once the deadline has passed.
                let _ = sender.send(exchange(&socket, &request));
            })
            .map_err(Failure::Connect)?;
        receiver.recv_timeout(deadline).unwrap_or_else(|_| {
            let error = io::Error::new(io::ErrorKind::TimedOut, format!("there was none within {deadline:?}"));
            Err(Failure::NoAnswer(error))
        })
    }
}

fn exchange(socket: &Path, request: &[u8]) -> Result<Answer, Failure> {
    let mut stream = UnixStream::connect(socket).map_err(Failure::Connect)?;
    // A daemon that refuses the request may answer and close before it has read all of it. The answer counts then,
    // and where there is none, reading fails too. No half-close afterwards: the daemon takes it for a caller that
    // has gone away.
    let _ = stream.write_all(request);
    read_answer(&mut BufReader::new(stream.take(MAX_ANSWER as u64))).map_err(Failure::NoAnswer)
}

enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

fn read_answer(reader: &mut impl BufRead) -> io::Result<Answer> {
    let status = loop {
        let status = status(&read_line(reader)?)?;
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
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(invalid("an unknown transfer encoding"));
            }
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("content-length") && !matches!(framing, Framing::Chunked) {
            framing = Framing::Length(value.parse().map_err(|_| invalid("a wrong content length"))?);
        }
    }
    let mut body = Vec::new();
    match framing {
        Framing::Length(length) => read_exactly(reader, length, &mut body)?,
        Framing::Chunked => read_chunks(reader, &mut body)?,
        Framing::UntilClose => _ = reader.read_to_end(&mut body)?,
    }
    Ok(Answer { status, body })
}

fn status(line: &str) -> io::Result<u16> {
    let code = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1));
    code.and_then(|code| code.parse().ok()).ok_or_else(|| invalid("no HTTP status line"))
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = read_line(reader)?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| invalid("a wrong chunk size"))?;
        if size == 0 {
            while !read_line(reader)?.is_empty() {}
            return Ok(());
        }
        read_exactly(reader, size, body)?;
        if !read_line(reader)?.is_empty() {
            return Err(invalid("a chunk longer than its size"));
        }
    }
}

/// Reads a line without its end.
fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(ended());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).map_err(|_| invalid("a header that is not text"))
}

/// Reads `length` bytes without reserving them first: the number is the other side's.
fn read_exactly(reader: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = reader.take(length).read_to_end(body)?;
    if read as u64 == length { Ok(()) } else { Err(ended()) }
}

fn ended() -> io::Error {
    let text = format!("the connection ended, or the answer is longer than {MAX_ANSWER} bytes");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is not HTTP: {what}"))
}
