use super::*;
use crate::durable::recorder::{self, Synced};

#[test]
fn a_spooled_del_is_on_disk_when_the_write_returns() {
    let state_dir = tempfile::tempdir().expect("dir");
    let state_dir = state_dir.path().canonicalize().expect("a path");
    let spool = state_dir.join("spool");
    let temporary = format!(".c1:eth0.{}", process::id());
    let written = |content: &str| Synced::File {
        path: spool.join(&temporary),
        content: content.into(),
    };
    let entries = |path: &Path, name: &str| Synced::Dir {
        path: path.to_owned(),
        names: vec![name.to_owned()],
    };
    recorder::take();
    // The content is complete before the file gets its name.
    write(&state_dir, "c1", "eth0", b"first").expect("spooled");
    assert_eq!(
        recorder::take(),
        [
            entries(&state_dir, "spool"),
            written("first"),
            entries(&spool, "c1:eth0.json"),
        ]
    );
    write(&state_dir, "c1", "eth0", b"second").expect("spooled");
    assert_eq!(
        recorder::take(),
        [written("second"), entries(&spool, "c1:eth0.json")]
    );
}
