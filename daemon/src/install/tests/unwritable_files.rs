//! Files that cannot be removed or written: each problem names the key of its directory, and what to
//! do.

use std::fs;

use super::Node;

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_place_of_a_marker_is_named_with_what_to_do() {
    for (marker, text) in [
        (
            "uninstalled",
            "the runtime's configuration is not published",
        ),
        ("uninstalling", "the marker of an earlier uninstall"),
    ] {
        let (mut node, installer) = Node::prepared().await;
        let path = node.root.path().join("state").join(marker);
        let _ = fs::remove_file(&path);
        fs::create_dir(&path).expect(marker);
        node.default_network("10-calico.conflist", "calico");
        node.sync();
        node.start(installer);
        let remedy = format!("{marker}: Is a directory; remove the directory that has this name");
        node.until_problem(&remedy).await;
        let problems = node.problems();
        assert!(problems[0].starts_with(text), "{problems:?}");
        fs::remove_dir(&path).expect(marker);
        node.until_ready().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_place_of_a_directory_is_named_with_its_key() {
    for (dir, key) in [("state", "stateDir"), ("bin", "shimDir")] {
        let (mut node, installer) = Node::prepared().await;
        let path = node.root.path().join(dir);
        fs::remove_dir_all(&path).expect(dir);
        fs::write(&path, "").expect(dir);
        node.default_network("10-calico.conflist", "calico");
        node.sync();
        node.start(installer);
        let remedy = format!("remove the file that is in place of the directory ({key})");
        node.until_problem(&remedy).await;
    }
}
