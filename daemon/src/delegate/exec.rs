//! One run of one plugin: starts the process, writes its stdin, reads its output up to a limit, and
//! kills the process at the deadline.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use plexus_api::json::MAX_RESULT;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::host::{Exit, Host, Process};

/// How much of stderr is logged, in bytes. The end is logged, since it has the cause of a failure
/// (P-045).
pub(super) const MAX_STDERR: usize = 4 << 10;
/// How long a plugin's pipes are read after its exit. The plugin's own output is complete by then;
/// only a child process that still runs keeps the pipes open.
const PIPE_GRACE: Duration = Duration::from_millis(100);
/// How long to wait for a killed plugin to exit, so that it does not run during the DEL that
/// follows. A process in an uninterruptible system call exits later, and is reaped then.
const KILL_GRACE: Duration = Duration::from_secs(1);
/// The pauses between attempts to execute a file that is open for writing, as during an upgrade
///
const BUSY_PAUSES: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

#[derive(Debug)]
pub(super) struct Exec<'a> {
    pub(super) program: &'a Path,
    /// The whole environment: nothing is inherited.
    pub(super) env: &'a BTreeMap<String, String>,
    /// Held until the program runs.
    pub(super) ledger_lock: Option<&'a File>,
    pub(super) stdin: &'a [u8],
    pub(super) deadline: Instant,
    pub(super) cancel: &'a CancellationToken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Termination {
    /// The process exited by itself or was killed by another process.
    Exited(ExitStatus),
    /// The launcher was killed, so the exit status of the program is not known.
    Unknown,
    /// The deadline has passed, and the process group was killed.
    TimedOut,
    /// The call was cancelled, and the process group was killed.
    Cancelled,
}

#[derive(Debug)]
pub(super) struct RunOutput {
    pub(super) termination: Termination,
    /// One byte longer than [`MAX_RESULT`] if the plugin printed more than that.
    pub(super) stdout: Vec<u8>,
    /// The end of stderr, one byte longer than [`MAX_STDERR`] if the plugin printed more than that.
    pub(super) stderr: Vec<u8>,
}

impl RunOutput {
    fn nothing_ran(termination: Termination) -> Self {
        Self {
            termination,
            stdout: Vec::new(),
            stderr: Vec::new(),
        }
    }
}

impl Exec<'_> {
    /// Runs the program.
    ///
    /// # Errors
    /// The program could not be started.
    pub(super) async fn run(&self, host: &Host) -> io::Result<RunOutput> {
        if let Some(termination) = self.interrupted() {
            return Ok(RunOutput::nothing_ran(termination));
        }
        self.retry_busy(|| self.run_once(host)).await
    }

    async fn run_once(&self, host: &Host) -> io::Result<RunOutput> {
        let process = tokio::select! {
            biased;
            process = host.start_plugin(self.program, self.env, self.ledger_lock) => process?,
            termination = self.interruption() => return Ok(RunOutput::nothing_ran(termination)),
        };
        self.supervise(process).await
    }

    /// Retries while the program is open for writing.
    async fn retry_busy<F: Future<Output = io::Result<RunOutput>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> io::Result<RunOutput> {
        for pause in BUSY_PAUSES {
            match attempt().await {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                done => return done,
            }
            tokio::select! {
                () = sleep(pause) => {}
                termination = self.interruption() => {
                    return Ok(RunOutput::nothing_ran(termination));
                }
            }
        }
        attempt().await
    }

    /// Writes the process' stdin and reads its output until the process exits or has to be killed.
    async fn supervise(&self, mut process: Process) -> io::Result<RunOutput> {
        let (stdin_pipe, stdout_pipe, stderr_pipe) = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        );
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let termination = {
            // Concurrent: a plugin may write before it reads, or never read.
            let pipes = async {
                tokio::join!(
                    write_stdin(stdin_pipe, self.stdin),
                    drain(stdout_pipe, |chunk| keep_start(&mut stdout, chunk)),
                    drain(stderr_pipe, |chunk| keep_end(&mut stderr, chunk)),
                )
            };
            tokio::pin!(pipes);
            let mut drained = false;
            let termination = loop {
                tokio::select! {
                    // The pipes come last: endless output would starve the other branches.
                    biased;
                    exit = process.wait() => break match exit? {
                        Exit::Status(status) => Termination::Exited(status),
                        Exit::Unknown => Termination::Unknown,
                    },
                    termination = self.interruption() => break termination,
                    _ = &mut pipes, if !drained => drained = true,
                }
            };
            match termination {
                _ if drained => {}
                Termination::Exited(_) | Termination::Unknown => {
                    drop(timeout(PIPE_GRACE, pipes).await);
                }
                Termination::TimedOut | Termination::Cancelled => {}
            }
            termination
        };
        if matches!(termination, Termination::TimedOut | Termination::Cancelled) {
            process.kill_group();
            drop(timeout(KILL_GRACE, process.wait()).await);
        }
        trim_start(&mut stderr);
        Ok(RunOutput {
            termination,
            stdout,
            stderr,
        })
    }

    fn interrupted(&self) -> Option<Termination> {
        if self.cancel.is_cancelled() {
            return Some(Termination::Cancelled);
        }
        (Instant::now() >= self.deadline).then_some(Termination::TimedOut)
    }

    async fn interruption(&self) -> Termination {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Termination::Cancelled,
            () = sleep_until(self.deadline) => Termination::TimedOut,
        }
    }
}

/// Writes the plugin's stdin and closes the pipe. A plugin that does not read its stdin is not an
/// error.
async fn write_stdin(pipe: Option<pipe::Sender>, bytes: &[u8]) {
    if let Some(mut pipe) = pipe {
        drop(pipe.write_all(bytes).await);
    }
}

/// Reads to the end of the pipe. A read error counts as the end: only the exit status matters.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, mut keep: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; 16 << 10];
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        keep(&chunk[..length]);
    }
}

/// Keeps one byte more than the limit, so that the caller can reject longer output.
fn keep_start(kept: &mut Vec<u8>, chunk: &[u8]) {
    let free = (MAX_RESULT + 1).saturating_sub(kept.len());
    kept.extend_from_slice(&chunk[..chunk.len().min(free)]);
}

/// Keeps at least as much as [`trim_start`] leaves.
fn keep_end(kept: &mut Vec<u8>, chunk: &[u8]) {
    kept.extend_from_slice(chunk);
    if kept.len() > 2 * MAX_STDERR {
        trim_start(kept);
    }
}

/// Keeps one byte more than the limit, so that the log can say that the start is missing.
fn trim_start(kept: &mut Vec<u8>) {
    kept.drain(..kept.len().saturating_sub(MAX_STDERR + 1));
}
