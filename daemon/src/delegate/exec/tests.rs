use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::PermissionsExt as _;

use nix::errno::Errno;
use tokio::runtime::Handle;

use super::*;
use crate::host::HostRoot;

#[test]
fn kept_output_is_bounded() {
    plexus_api::rows!("T-012", "P-045");
    let chunk = vec![b'x'; 1 << 20];
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    for _ in 0..16 {
        keep_start(&mut output, &chunk);
        keep_end(&mut errors, &chunk);
    }
    assert_eq!(output.len(), MAX_RESULT + 1);
    assert!(errors.capacity() < 4 << 20, "{}", errors.capacity());
    keep_end(&mut errors, b"the end");
    trim_start(&mut errors);
    assert_eq!(errors.len(), MAX_STDERR + 1);
    assert!(errors.ends_with(b"the end"));
}

static NO_ENV: BTreeMap<String, String> = BTreeMap::new();

fn exec<'a>(program: &'a Path, time: Duration, cancel: &'a CancellationToken) -> Exec<'a> {
    Exec {
        program,
        env: &NO_ENV,
        ledger_lock: None,
        stdin: &[],
        deadline: Instant::now() + time,
        cancel,
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_program_is_retried_for_seconds() {
    plexus_api::rows!("R-048");
    let cancel = CancellationToken::new();
    let exec = exec(Path::new("/plugin"), Duration::from_mins(1), &cancel);
    let busy = || Err(io::Error::from(Errno::ETXTBSY));
    let start = Instant::now();
    let freed = exec.retry_busy(|| async {
        if start.elapsed() < Duration::from_secs(2) {
            busy()
        } else {
            Ok(RunOutput::nothing_ran(Termination::Unknown))
        }
    });
    assert!(freed.await.is_ok(), "held for 2 s");

    let attempts = Cell::new(0);
    let start = Instant::now();
    let held = exec.retry_busy(|| async {
        attempts.set(attempts.get() + 1);
        busy()
    });
    assert_eq!(
        held.await.expect_err("held forever").kind(),
        io::ErrorKind::ExecutableFileBusy
    );
    assert_eq!(attempts.get(), 5);
    assert!(start.elapsed() < Duration::from_secs(5));

    let attempts = Cell::new(0);
    let missing = exec.retry_busy(|| async {
        attempts.set(attempts.get() + 1);
        Err(io::Error::from(Errno::ENOENT))
    });
    assert!(missing.await.is_err());
    assert_eq!(attempts.get(), 1, "only a busy program is retried");

    // A call that ends does not wait for the next attempt.
    let start = Instant::now();
    let held = exec.retry_busy(|| async {
        cancel.cancel();
        busy()
    });
    let output = held.await.expect("output");
    assert_eq!(output.termination, Termination::Cancelled);
    assert!(start.elapsed().is_zero());
}

#[tokio::test]
async fn a_plugin_that_cannot_be_started_in_time_is_not_started_later() {
    plexus_api::rows!("R-049", "R-050");
    let dir = tempfile::tempdir().expect("dir");
    let (program, started) = (dir.path().join("plugin"), dir.path().join("started"));
    let script = format!("#!/bin/sh\n: > {}\n", started.display());
    fs::write(&program, script).expect("write");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    // Given a host whose thread is busy, as while it reads from a file system that hangs.
    let host = Host::start(Handle::current(), HostRoot::Chroot("/".into())).expect("host");
    let (release, released) = std::sync::mpsc::channel::<()>();
    let busy = host.run(move || released.recv());
    tokio::pin!(busy);
    assert!(futures_util::poll!(&mut busy).is_pending());
    // When a call waits for the thread until its deadline, or until the caller is gone.
    let exec = |cancel| exec(&program, Duration::from_millis(50), cancel);
    let (waits, gone) = (CancellationToken::new(), CancellationToken::new());
    let output = exec(&waits).run(&host).await.expect("output");
    assert_eq!(output.termination, Termination::TimedOut);
    let cancelled = exec(&gone);
    let run = cancelled.run(&host);
    let (output, ()) = tokio::join!(run, async { gone.cancel() });
    assert_eq!(output.expect("output").termination, Termination::Cancelled);
    // Then the thread starts nothing for them.
    drop(release);
    let _ = busy.await;
    host.run(|| ()).await.expect("the queue is worked off");
    assert!(!started.exists());
}

#[tokio::test]
async fn a_program_starts_after_its_writer_has_closed_it() {
    plexus_api::rows!("R-048");
    let dir = tempfile::tempdir().expect("dir");
    let program = dir.path().join("plugin");
    fs::copy("/bin/true", &program).expect("copy");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let host = Host::start(Handle::current(), HostRoot::Own).expect("host");
    let writer = OpenOptions::new().write(true).open(&program).expect("open");
    let cancel = CancellationToken::new();
    let exec = exec(&program, Duration::from_mins(1), &cancel);
    let error = exec.run_once(&host).await.expect_err("open for writing");
    assert_eq!(error.kind(), io::ErrorKind::ExecutableFileBusy);
    let release = async { drop(writer) };
    let (output, ()) = tokio::join!(exec.run(&host), release);
    let Termination::Exited(status) = output.expect("output").termination else {
        panic!("it runs");
    };
    assert!(status.success());
}
