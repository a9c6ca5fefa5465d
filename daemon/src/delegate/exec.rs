//! One run of one plugin: a process that is fed, drained, bounded in what it says and in how long it takes.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use plexus_api::json::MAX_RESULT;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::ChildStdin;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::host::Host;

/// How much of stderr is kept: its end, which has the reason (P-045).
const MAX_STDERR: usize = 64 << 10;
/// How long a plugin's pipes are read after it has exited. What it wrote is there by then; only a process that it left
/// behind keeps them open.
const GRACE: Duration = Duration::from_millis(100);
/// How long a killed plugin is waited for, so that it does not meet the DEL that follows. One in an uninterruptible call
/// of the kernel does not die now; it is reaped when it does.
const DEATH: Duration = Duration::from_secs(1);
/// The waits between the tries to execute a file that is open for writing, as a plugin is while it is upgraded.
const BUSY_WAITS: [Duration; 4] = [
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// What to run, and for how long.
#[derive(Debug)]
pub(super) struct Exec<'a> {
    pub(super) program: &'a Path,
    /// The whole environment: nothing is inherited.
    pub(super) env: &'a BTreeMap<String, String>,
    pub(super) stdin: &'a [u8],
    pub(super) deadline: Instant,
    pub(super) cancel: &'a CancellationToken,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// By itself, or by a signal that was not ours.
    Exited(ExitStatus),
    /// Its time was over; its process group has been killed.
    TimedOut,
    /// The call was cancelled; its process group has been killed.
    Cancelled,
}

/// What a plugin left behind.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) ended: Ended,
    /// Its output; one byte longer than [`MAX_RESULT`] where there was more than that.
    pub(super) stdout: Vec<u8>,
    /// The end of its error output.
    pub(super) stderr: Vec<u8>,
}

impl Exec<'_> {
    /// Runs the program.
    ///
    /// # Errors
    /// It could not be started.
    pub(super) async fn run(&self, host: &Host) -> io::Result<Run> {
        // Not raced against the end of the call: nobody would wait for a process that starts late, and it could meet the
        // DEL that follows.
        let starting = retry_busy(|| async {
            if self.is_over().is_some() {
                Err(io::ErrorKind::Interrupted.into())
            } else {
                host.spawn(self.command()).await
            }
        });
        let mut process = match (starting.await, self.is_over()) {
            (Ok(process), _) => process,
            (Err(_), Some(ended)) => {
                return Ok(Run {
                    ended,
                    stdout: Vec::new(),
                    stderr: Vec::new(),
                });
            }
            (Err(error), None) => return Err(error),
        };
        let (stdin, stdout, stderr) = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        );
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let ended = {
            // All at once: a plugin may write before it reads, or never read.
            let pipes = async {
                tokio::join!(
                    feed(stdin, self.stdin),
                    drain(stdout, |chunk| keep_start(&mut output, chunk)),
                    drain(stderr, |chunk| keep_end(&mut errors, chunk)),
                )
            };
            tokio::pin!(pipes);
            let mut drained = false;
            let ended = loop {
                tokio::select! {
                    // The pipes come last: reading without end would leave the others no turn.
                    biased;
                    status = process.wait() => break Ended::Exited(status?),
                    ended = self.stopped() => break ended,
                    _ = &mut pipes, if !drained => drained = true,
                }
            };
            match ended {
                Ended::Exited(_) if drained => {}
                Ended::Exited(_) => drop(timeout(GRACE, pipes).await),
                Ended::TimedOut | Ended::Cancelled => {
                    process.kill_group();
                    drop(timeout(DEATH, process.wait()).await);
                }
            }
            ended
        };
        trim_end(&mut errors);
        Ok(Run {
            ended,
            stdout: output,
            stderr: errors,
        })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.env_clear().envs(self.env);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn is_over(&self) -> Option<Ended> {
        if self.cancel.is_cancelled() {
            return Some(Ended::Cancelled);
        }
        (Instant::now() >= self.deadline).then_some(Ended::TimedOut)
    }

    async fn stopped(&self) -> Ended {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Ended::Cancelled,
            () = sleep_until(self.deadline) => Ended::TimedOut,
        }
    }
}

/// Tries again while the program is open for writing.
async fn retry_busy<T, F: Future<Output = io::Result<T>>>(
    mut spawn: impl FnMut() -> F,
) -> io::Result<T> {
    for wait in BUSY_WAITS {
        match spawn().await {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => sleep(wait).await,
            done => return done,
        }
    }
    spawn().await
}

/// Writes what a plugin is to read, and closes the pipe. That the plugin does not want it is no error.
async fn feed(pipe: Option<ChildStdin>, bytes: &[u8]) {
    if let Some(mut pipe) = pipe {
        drop(pipe.write_all(bytes).await);
    }
}

/// Reads to the end. A read error ends it as the end does: what counts is the exit status.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, mut keep: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; 16 << 10];
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        keep(&chunk[..length]);
    }
}

/// Keeps up to one byte more than is accepted, so that the reader sees that it is too much; the rest is thrown away.
fn keep_start(kept: &mut Vec<u8>, chunk: &[u8]) {
    let room = (MAX_RESULT + 1).saturating_sub(kept.len());
    kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
}

/// Keeps at least the end; [`trim_end`] removes what is more.
fn keep_end(kept: &mut Vec<u8>, chunk: &[u8]) {
    kept.extend_from_slice(chunk);
    if kept.len() > 2 * MAX_STDERR {
        trim_end(kept);
    }
}

fn trim_end(kept: &mut Vec<u8>) {
    kept.drain(..kept.len().saturating_sub(MAX_STDERR));
}
