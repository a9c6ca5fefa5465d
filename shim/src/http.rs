//! One `POST /cni` over a Unix socket, in HTTP/1.1 (RFC 9112): as much of a client as one exchange with the daemon
//! takes.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr};
use plexus_api::json;

use crate::timer::Timer;

/// The largest answer with its headers, in bytes: the largest result, and some room around it.
const MAX_ANSWER: usize = json::MAX_RESULT + (64 << 10);

/// The status code of a daemon that hands over to another.
const ELSEWHERE: u16 = 503;

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
    /// There was one, but the daemon has not begun the call: it says so, or it has not read all of the request.
    NotBegun,
    /// There was one, and the daemon may have seen the request.
    NoAnswer(io::Error),
}

/// The bytes of a request, head and body, to be sent as often as it takes.
#[derive(Debug, Clone)]
pub struct Request(Vec<u8>);

impl Request {
    /// A request that carries `body`.
    pub fn post_cni(body: &[u8]) -> Self {
        let head = format!(
            "POST /cni HTTP/1.1\r\nHost: plexus\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n",
            body.len()
        );
        Self([head.as_bytes(), body].concat())
    }

    /// Connects to `socket`, sends the request and reads the answer, all before the deadline.
    pub fn send(&self, socket: &Path, deadline: Duration) -> Result<Answer, Failure> {
        let stream = connect(socket).map_err(Failure::Connect)?;
        let mut exchange = Exchange {
            stream,
            timer: Timer::start(deadline),
        };
        // A daemon that refuses the request may answer and close before it has read all of it. The answer counts
        // then. No half-close afterwards: the daemon takes it for a caller that has gone away.
        let written = exchange.write_all(&self.0);
        match read_answer(&mut BufReader::new(exchange.take(MAX_ANSWER as u64))) {
            Ok(Answer {
                status: ELSEWHERE, ..
            }) => Err(Failure::NotBegun),
            Ok(answer) => Ok(answer),
            // The kernel says so where a Unix socket is closed with something in it that was not read.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Failure::NotBegun),
            Err(error) => Err(match written {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Failure::NotBegun,
                _ => Failure::NoAnswer(error),
            }),
        }
    }
}

/// Connects without blocking: the kernel would let a connect to a daemon that accepts nothing wait for ever.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// A connection whose timer holds for all reads and writes together.
struct Exchange {
    stream: UnixStream,
    timer: Timer,
}

impl Exchange {
    fn in_time<T>(&self, io: io::Result<T>) -> io::Result<T> {
        // What the kernel says when a read or write has lasted too long.
        io.map_err(|error| {
            if error.kind() == io::ErrorKind::WouldBlock {
                self.timer.expired()
            } else {
                error
            }
        })
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.timer.left()?))?;
        let read = self.stream.read(buffer);
        self.in_time(read)
    }
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.timer.left()?))?;
        let written = self.stream.write(bytes);
        self.in_time(written)
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
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| invalid("a header without a colon"))?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(invalid("an unknown transfer encoding"));
            }
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("content-length")
            && !matches!(framing, Framing::Chunked)
        {
            framing = Framing::Length(
                value
                    .parse()
                    .map_err(|_| invalid("a wrong content length"))?,
            );
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
    let code = line
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.split(' ').nth(1));
    code.and_then(|code| code.parse().ok())
        .ok_or_else(|| invalid("no HTTP status line"))
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
    if read as u64 == length {
        Ok(())
    } else {
        Err(ended())
    }
}

fn ended() -> io::Error {
    let text = format!("the connection ended, or the answer is longer than {MAX_ANSWER} bytes");
    io::Error::new(io::ErrorKind::UnexpectedEof, text)
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("it is not HTTP: {what}"),
    )
}

#[cfg(test)]
mod tests;
