//! The launcher starts plugins and reports how they end. It is a process in the control groups of the
//! runtime, which its children inherit, or a thread of plexusd if plugins stay in those of plexusd.
//!
//! A process is moved only once, because the kernel takes 10 to 20 ms to move a process to another
//! control group if none was moved shortly before.
//!
//! For each run of a plugin, plexusd sends one byte with file descriptors: a socket for this run, the
//! plugin's stdin, stdout and stderr, and the lock of the ledger. The socket carries the [`Order`] to
//! the launcher and each [`Reply`] back. The lock is held until the plugin runs: the next daemon finds
//! all plugins of this one when it has the ledger. The launcher ends when plexusd ends; plugins that
//! still run then continue.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command};
use std::thread;

use nix::errno::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::messages::{Order, Reply, receive};

/// Serves plexusd, which has the other end of stdin.
///
/// # Errors
/// Stdin is not a socket.
pub(crate) fn launch_plugins() -> io::Result<()> {
    serve(&UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?))
}

/// Serves until the other end of the socket is closed.
pub(super) fn serve(control: &UnixStream) -> io::Result<()> {
    loop {
        let (count, fds) = receive(control, &mut [0])?;
        if count == 0 {
            return Ok(());
        }
        let mut fds = fds.into_iter();
        let Some(socket) = fds.next().map(UnixStream::from) else {
            continue;
        };
        let refusals = socket.try_clone();
        let started = thread::Builder::new()
            .name("plugin".to_owned())
            .spawn(move || run(&socket, fds));
        if let (Err(error), Ok(socket)) = (started, refusals) {
            refuse(&socket, &error);
        }
    }
}

/// Runs a plugin.
fn run(socket: &UnixStream, mut fds: impl Iterator<Item = OwnedFd>) {
    let streams = [fds.next(), fds.next(), fds.next()];
    let lock = fds.next();
    match start(socket, streams) {
        Ok(child) => supervise(socket, child, lock),
        Err(error) => refuse(socket, &error),
    }
}

/// Reports the start and the end of a plugin.
pub(super) fn supervise(socket: &UnixStream, mut child: Child, lock: Option<OwnedFd>) {
    // plexusd kills the plugin if the call ends after this report.
    if report_start(socket, &child).is_err() || is_cancelled(socket) {
        let _ = pid_of(&child).map(|pid| kill_process_group(pid, Signal::KILL));
    }
    drop(lock);
    if let Ok(status) = child.wait() {
        // Fails if plexusd no longer waits.
        let _ = Reply::Exited(status.into_raw()).send(socket, None);
    }
}

/// Starts the plugin that plexusd orders on `socket`.
pub(super) fn start(socket: &UnixStream, streams: [Option<OwnedFd>; 3]) -> io::Result<Child> {
    let Order { program, env } = Order::read(socket)?;
    let [Some(stdin), Some(stdout), Some(stderr)] = streams else {
        return Err(Errno::EMFILE.into());
    };
    if is_cancelled(socket) {
        return Err(Errno::ECANCELED.into());
    }
    Command::new(program)
        .env_clear()
        .envs(env)
        .stdin(stdin)
        .stdout(stdout)
        .stderr(stderr)
        .process_group(0)
        .spawn()
}

/// Whether the call has ended, so that a DEL may follow.
fn is_cancelled(socket: &UnixStream) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(recv(socket, &mut [0; 1], flags), Ok((_, 0)))
}

fn report_start(socket: &UnixStream, child: &Child) -> io::Result<()> {
    let pid = pid_of(child)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
    let pidfd = pidfd.as_ref().map(OwnedFd::as_fd);
    Reply::Started(pid.as_raw_nonzero().get()).send(socket, pidfd)
}

fn pid_of(child: &Child) -> io::Result<Pid> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| Errno::ESRCH.into())
}

fn refuse(socket: &UnixStream, error: &io::Error) {
    let errno = error.raw_os_error().unwrap_or(Errno::EINVAL as i32);
    // Fails if plexusd no longer waits.
    let _ = Reply::NotStarted(errno).send(socket, None);
}
