use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use nix::errno::Errno;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use super::messages::{Order, receive};
use super::placement::Launcher;
use super::*;

fn host() -> Host {
    Host::start(Handle::current(), HostRoot::Own).expect("host")
}

/// A directory with an executable shell script.
fn script(text: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("dir");
    let program = dir.path().join("script");
    fs::write(&program, format!("#!/bin/sh\n{text}\n")).expect("write");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    (dir, program)
}

async fn start(host: &Host, program: &Path) -> Process {
    let env = BTreeMap::new();
    host.start_plugin(program, &env, None)
        .await
        .expect("ordered")
}

/// Reads the output of a process until it ends.
async fn output_of(mut process: Process) -> String {
    let mut text = String::new();
    let mut stdout = process.stdout.take().expect("a pipe");
    stdout.read_to_string(&mut text).await.expect("read");
    let exit = process.wait().await.expect("started");
    assert!(
        matches!(exit, Exit::Status(status) if status.success()),
        "{exit:?}"
    );
    text
}

#[tokio::test]
async fn children_have_a_fixed_working_directory_and_umask() {
    plexus_api::rows!("R-051");
    // Given a daemon with another working directory and umask, on a thread that shares neither with
    // other tests.
    let runtime = Handle::current();
    let (dir, program) = script("pwd; umask; : > ${0%/*}/created");
    let cwd = dir.path().to_owned();
    let (host, after) = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_FS).expect("unshare");
        std::env::set_current_dir(&cwd).expect("chdir");
        umask(Mode::from_bits_truncate(0o077));
        let host = Host::start(runtime, HostRoot::Own).expect("host");
        let after = (std::env::current_dir().expect("cwd"), umask(Mode::empty()));
        (host, after)
    })
    .join()
    .expect("thread");
    // When a child is started, then the child has `/` and 022, and the daemon keeps its own.
    let output = output_of(start(&host, &program).await).await;
    assert_eq!(output, "/\n0022\n");
    let created = dir.path().join("created").metadata().expect("created");
    assert_eq!(created.mode() & 0o777, 0o644);
    assert_eq!(
        after,
        (dir.path().to_owned(), Mode::from_bits_truncate(0o077))
    );
}

#[tokio::test]
async fn a_child_leads_its_own_process_group() {
    let (_dir, program) = script("read -r stat < /proc/self/stat; echo \"$$ $stat\"");
    let stat = output_of(start(&host(), &program).await).await;
    let fields: Vec<_> = stat.split(' ').collect();
    assert_eq!(
        (fields[1], fields[5]),
        (fields[0], fields[0]),
        "pid and process group"
    );
}

#[tokio::test]
async fn a_start_error_is_returned() {
    let host = host();
    let (_dir, works) = script("");
    let long = BTreeMap::from([("LONG".to_owned(), "x".repeat(200 << 10))]);
    let (missing, none) = (Path::new("/nonexistent"), BTreeMap::new());
    for (program, env, errno) in [
        (missing, &none, Errno::ENOENT),
        (&works, &long, Errno::E2BIG),
    ] {
        let mut process = host
            .start_plugin(program, env, None)
            .await
            .expect("ordered");
        let error = process.wait().await.expect_err("cannot be executed");
        assert_eq!(error.raw_os_error(), Some(errno as i32));
    }
    assert_eq!(output_of(start(&host, &works).await).await, "");
}

#[tokio::test]
async fn an_order_over_the_limit_is_refused() {
    let host = host();
    let huge = BTreeMap::from([("HUGE".to_owned(), "x".repeat(9 << 20))]);
    let refused = host.start_plugin(Path::new("/bin/true"), &huge, None).await;
    assert_eq!(
        refused.expect_err("too long").raw_os_error(),
        Some(Errno::E2BIG as i32)
    );
}

#[tokio::test]
async fn a_plugin_that_runs_does_not_hold_the_lock_of_the_ledger() {
    let host = host();
    let (dir, program) = script("echo runs; read -r _");
    let lock = File::create(dir.path().join("lock")).expect("create");
    lock.try_lock().expect("free");
    let env = BTreeMap::new();
    let mut process = host
        .start_plugin(&program, &env, Some(&lock))
        .await
        .expect("ordered");
    drop(lock);
    let mut stdout = process.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 5]).await.expect("it runs");
    let other = File::open(dir.path().join("lock")).expect("open");
    other.lock().expect("the launcher closes the lock");
}

#[tokio::test]
async fn a_plugin_is_killed_even_if_its_start_was_not_reported_yet() {
    let host = host();
    let (_dir, program) = script("echo runs; exec sleep 60");
    let mut process = start(&host, &program).await;
    let mut stdout = process.stdout.take().expect("a pipe");
    stdout.read_exact(&mut [0; 5]).await.expect("it runs");
    assert!(process.running.is_none(), "no report was read");
    process.kill_group();
    assert_killed(process.wait().await.expect("started"));
}

/// Starts a plugin as a launcher does. Also returns the launcher's end of the socket of the run.
async fn start_by_hand(program: &Path) -> (Process, Child, UnixStream) {
    let (launcher, control) = Launcher::new().expect("a launcher");
    let started = std::thread::spawn(move || {
        let (_, fds) = receive(&control, &mut [0]).expect("an order");
        let mut fds = fds.into_iter();
        let socket = UnixStream::from(fds.next().expect("a socket"));
        let streams = [fds.next(), fds.next(), fds.next()];
        let child = launcher::start(&socket, streams).expect("started");
        (child, socket)
    });
    let order = Order::encode(program, &BTreeMap::new()).expect("an order");
    let process = launcher.start(&order, None).await.expect("ordered");
    let (child, socket) = started.join().expect("the launcher");
    (process, child, socket)
}

/// Starts a plugin as a launcher that is killed before it reports the start.
async fn start_with_a_killed_launcher(program: &Path) -> Process {
    let (process, mut plugin, _) = start_by_hand(program).await;
    // The parent of a plugin whose launcher was killed is another process, which reaps the plugin.
    std::thread::spawn(move || plugin.wait());
    process
}

#[tokio::test]
async fn a_plugin_whose_call_ends_before_the_report_is_killed_by_the_launcher() {
    let (_dir, program) = script("exec sleep 1000");
    let (mut process, plugin, socket) = start_by_hand(&program).await;
    process.kill_group();
    assert!(process.running.is_none(), "nothing was reported");
    std::thread::spawn(move || launcher::supervise(&socket, plugin, None));
    let exit = timeout(Duration::from_mins(1), process.wait()).await;
    assert_killed(exit.expect("killed").expect("started"));
}

#[tokio::test]
async fn a_plugin_whose_call_ends_before_the_start_is_not_started() {
    let (launcher, control) = Launcher::new().expect("a launcher");
    let (dir, program) = script(": > ${0%/*}/started");
    let order = Order::encode(&program, &BTreeMap::new()).expect("an order");
    let mut process = launcher.start(&order, None).await.expect("ordered");
    process.kill_group();
    std::thread::spawn(move || launcher::serve(&control));
    let error = process.wait().await.expect_err("the call has ended");
    assert_eq!(error.raw_os_error(), Some(Errno::ECANCELED as i32));
    assert!(!dir.path().join("started").exists());
}

/// Waits until the plugin has been found, while the plugin runs.
async fn wait_until_found(process: &mut Process) {
    while process.running.is_none() {
        let waited = timeout(Duration::from_secs(1), process.wait()).await;
        assert!(waited.is_err(), "the plugin runs: {waited:?}");
    }
}

#[tokio::test]
async fn a_plugin_whose_launcher_was_killed_before_the_report_is_waited_for() {
    let (_dir, program) = script("read -r _");
    let mut process = start_with_a_killed_launcher(&program).await;
    wait_until_found(&mut process).await;
    drop(process.stdin.take());
    assert_eq!(process.wait().await.expect("started"), Exit::Unknown);
}

#[tokio::test]
async fn a_plugin_whose_launcher_was_killed_before_the_report_can_be_killed() {
    let (_dir, program) = script("exec sleep 1000");
    let mut process = start_with_a_killed_launcher(&program).await;
    wait_until_found(&mut process).await;
    process.kill_group();
    let exit = timeout(Duration::from_mins(1), process.wait()).await;
    assert_eq!(exit.expect("killed").expect("started"), Exit::Unknown);
}

fn assert_killed(exit: Exit) {
    assert!(
        matches!(exit, Exit::Status(status) if status.signal() == Some(Signal::KILL.as_raw())),
        "{exit:?}"
    );
}

#[tokio::test]
async fn a_panic_in_a_job_does_not_end_the_thread() {
    plexus_api::rows!("P-046");
    let host = host();
    let panicked = host.send::<()>(|| panic!("a bug")).await;
    panicked.expect_err("the job has no result");
    assert_eq!(host.send(|| 1).await.expect("the thread runs"), 1);
}
