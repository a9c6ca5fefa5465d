//! The messages between plexusd and its launcher. See [`super::launcher`].

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::cmsg_space;
use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

/// The largest order, in bytes. The kernel limits the environment of a program to 6 MiB.
const MAX_ORDER: u32 = 8 << 20;
/// The socket of the run, the three streams of the plugin, and the lock of the ledger.
const MAX_FDS: usize = 5;

/// The plugin to start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Order<P = PathBuf, E = BTreeMap<String, String>> {
    pub(super) program: P,
    pub(super) env: E,
}

impl Order {
    pub(super) fn encode(program: &Path, env: &BTreeMap<String, String>) -> io::Result<Vec<u8>> {
        let order = serde_json::to_vec(&Order { program, env })?;
        let length = u32::try_from(order.len())
            .ok()
            .filter(|length| *length <= MAX_ORDER)
            .ok_or(Errno::E2BIG)?;
        Ok([&length.to_be_bytes()[..], &order].concat())
    }

    pub(super) fn read(mut socket: impl Read) -> io::Result<Self> {
        let mut length = [0; 4];
        socket.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length > MAX_ORDER {
            return Err(Errno::E2BIG.into());
        }
        let mut order = Vec::new();
        socket.take(length.into()).read_to_end(&mut order)?;
        Ok(serde_json::from_slice(&order)?)
    }
}

/// What the launcher reports of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// The PID of the plugin. A pidfd comes with this message.
    Started(i32),
    /// The error number.
    NotStarted(i32),
    /// The status, as `wait` returns it.
    Exited(i32),
}

impl Reply {
    pub(super) fn send(self, socket: impl AsFd, pidfd: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let (kind, number) = match self {
            Self::Started(pid) => (0, pid),
            Self::NotStarted(errno) => (1, errno),
            Self::Exited(status) => (2, status),
        };
        let [a, b, c, d] = number.to_be_bytes();
        send(socket, &[kind, a, b, c, d], pidfd.as_slice())
    }

    /// Returns `None` if the other end of the socket was closed.
    pub(super) fn receive(socket: impl AsFd) -> io::Result<Option<(Self, Option<OwnedFd>)>> {
        let mut bytes = [0; 5];
        // All five bytes arrive at once, because they are sent at once.
        let (count, fds) = receive(socket, &mut bytes)?;
        let [kind, number @ ..] = bytes;
        let number = i32::from_be_bytes(number);
        let reply = match kind {
            _ if count < bytes.len() => return Ok(None),
            0 => Self::Started(number),
            1 => Self::NotStarted(number),
            _ => Self::Exited(number),
        };
        Ok(Some((reply, fds.into_iter().next())))
    }
}

/// Sends a few bytes and at most [`MAX_FDS`] file descriptors.
pub(super) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    let bytes = [IoSlice::new(bytes)];
    retry_on_intr(|| sendmsg(&socket, &bytes, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives bytes and the file descriptors of at most one message. No bytes: the other end was
/// closed. File descriptors are missing if this process has too many.
pub(super) fn receive(socket: impl AsFd, bytes: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [IoSliceMut::new(bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = retry_on_intr(|| recvmsg(&socket, &mut bytes, &mut control, flags))?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    Ok((received.bytes, fds))
}
