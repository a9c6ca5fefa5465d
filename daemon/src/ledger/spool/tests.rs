use tempfile::TempDir;

use super::*;

fn spool() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let spool = dir.path().join(SPOOL_DIR);
    fs::create_dir(&spool).expect("mkdir");
    (dir, spool)
}

fn request(container_id: &str) -> Request {
    let env = [
        ("CNI_COMMAND".to_owned(), "DEL".to_owned()),
        ("CNI_CONTAINERID".to_owned(), container_id.to_owned()),
    ];
    Request {
        env: env.into(),
        config: b"{\"name\": \"plexus\"}".to_vec(),
        at: None,
    }
}

#[test]
fn without_a_spool_directory_nothing_is_pending() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(pending(dir.path()).expect("a list").is_empty());
}

#[test]
fn requests_stay_in_the_spool_until_they_are_removed() {
    let (dir, spool) = spool();
    for id in ["c2", "c1"] {
        let body = serde_json::to_vec(&request(id)).expect("JSON");
        fs::write(spool.join(format!("{id}:eth0.json")), body).expect("write");
    }
    let unfinished = |pid: u32| spool.join(format!(".c3:eth0.{pid}"));
    fs::write(unfinished(std::process::id()), "{\"en").expect("a file that is being written");
    fs::write(unfinished(u32::MAX), "{\"en").expect("a file of a killed shim");

    let mut found = pending(dir.path()).expect("a list");
    assert_eq!(found.len(), 2);
    assert!(unfinished(std::process::id()).exists() && !unfinished(u32::MAX).exists());
    let second = found.pop().expect("two");
    let first = found.pop().expect("two");
    assert_eq!(first.read().expect("a request"), request("c1"));
    assert_eq!(
        first.read().expect("the request is still there"),
        request("c1")
    );
    first.remove().expect("remove");
    assert_eq!(second.read().expect("a request"), request("c2"));
    let left = pending(dir.path()).expect("a list");
    assert_eq!(
        left.iter()
            .map(|spooled| spooled.read().expect("a request"))
            .collect::<Vec<_>>(),
        [request("c2")]
    );
}

#[test]
fn a_file_that_is_not_a_request_is_moved_to_the_quarantine() {
    let (dir, spool) = spool();
    fs::write(spool.join("c1:eth0.json"), "{\"env\":").expect("write");
    let found = pending(dir.path()).expect("a list");
    let error = found[0].read().expect_err("not a request");
    let LedgerError::Corrupt {
        moved_to: Some(moved_to),
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(fs::read_to_string(moved_to).expect("kept"), "{\"env\":");
    assert!(pending(dir.path()).expect("a list").is_empty());
}

#[test]
fn a_spool_that_cannot_be_listed_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join(SPOOL_DIR), "").expect("a file in its place");
    pending(dir.path()).expect_err("no directory");
}
