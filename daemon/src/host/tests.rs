use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use tokio::io::AsyncReadExt as _;

use super::*;

/// Reads the output of a process until it ends.
async fn output_of(process: &mut Process) -> String {
    let mut text = String::new();
    process
        .stdout
        .take()
        .expect("a pipe")
        .read_to_string(&mut text)
        .await
        .expect("read");
    process.wait().await.expect("wait");
    text
}

#[tokio::test]
async fn children_have_a_fixed_working_directory_and_umask() {
    plexus_api::rows!("R-051");
    // Given a daemon with another working directory and umask, on a thread that shares neither with
    // other tests.
    let runtime = Handle::current();
    let dir = tempfile::tempdir().expect("dir");
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
    // When a child is spawned, then the child has `/` and 022, and the daemon keeps its own.
    let mut command = Command::new("/bin/sh");
    let file = dir.path().join("created");
    command
        .args(["-c", "pwd; umask; : > \"$0\""])
        .arg(&file)
        .stdout(Stdio::piped());
    let output = output_of(&mut host.spawn(command).await.expect("spawn")).await;
    assert_eq!(output, "/\n0022\n");
    assert_eq!(file.metadata().expect("created").mode() & 0o777, 0o644);
    assert_eq!(
        after,
        (dir.path().to_owned(), Mode::from_bits_truncate(0o077))
    );
}

#[tokio::test]
async fn a_child_leads_its_own_process_group() {
    let host = Host::start(Handle::current(), HostRoot::Own).expect("host");
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", "read -r stat < /proc/self/stat; echo \"$stat\""])
        .stdout(Stdio::piped());
    let mut child = host.spawn(command).await.expect("spawn");
    let id = child.id().expect("runs").to_string();
    let stat = output_of(&mut child).await;
    let fields: Vec<_> = stat.split(' ').collect();
    assert_eq!(
        (fields[0], fields[4]),
        (id.as_str(), id.as_str()),
        "pid and process group"
    );
}

#[tokio::test]
async fn a_spawn_error_is_returned() {
    let host = Host::start(Handle::current(), HostRoot::Own).expect("host");
    let error = host
        .spawn(Command::new("/nonexistent"))
        .await
        .expect_err("no such program");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(
        host.spawn(Command::new("/bin/true")).await.is_ok(),
        "the thread still runs"
    );
}

#[tokio::test]
async fn a_panic_in_a_job_does_not_end_the_thread() {
    plexus_api::rows!("P-046");
    let host = Host::start(Handle::current(), HostRoot::Own).expect("host");
    let panicked = host.send::<()>(|| panic!("a bug")).await;
    panicked.expect_err("the job has no result");
    assert_eq!(host.send(|| 1).await.expect("the thread runs"), 1);
}
