use std::cell::RefCell;
use std::os::fd::AsRawFd as _;

use super::*;

#[test]
fn a_spooled_del_is_on_disk_when_the_write_returns() {
    let state_dir = tempfile::tempdir().expect("dir");
    let state_dir = state_dir.path().canonicalize().expect("a path");
    let spool = state_dir.join("spool");
    let temporary = spool.join(format!(".c1:eth0.{}", process::id()));
    // The path of each synced file or directory, and its content or names.
    let synced = RefCell::new(Vec::new());
    let sync = |file: &File| {
        let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("a path");
        let content = fs::read_to_string(&path).unwrap_or_else(|_| {
            let entries = fs::read_dir(&path).expect("a directory").flatten();
            let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
            names.collect::<Vec<_>>().join(" ")
        });
        synced.borrow_mut().push((path, content));
        Ok(())
    };
    let write = |request: &[u8]| {
        write_with(sync, &state_dir, "c1", "eth0", request).expect("spooled");
        synced.take()
    };
    let entry = |path: &Path, content: &str| (path.to_owned(), content.to_owned());
    // The content is complete before the file gets its name.
    assert_eq!(
        write(b"first"),
        [
            entry(&state_dir, "spool"),
            entry(&temporary, "first"),
            entry(&spool, "c1:eth0.json"),
        ]
    );
    assert_eq!(
        write(b"second"),
        [entry(&temporary, "second"), entry(&spool, "c1:eth0.json")]
    );
}
