use std::fs;

use plexus_api::rows;
use tokio::runtime::Handle;

use super::*;
use crate::host::HostRoot;

#[tokio::test]
async fn the_documents_of_a_pod_are_limited_in_sum() {
    rows!("D-017");
    let host = Host::start(Handle::current(), HostRoot::Own).expect("a host");
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    let document = r#"{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:18:02.5"}}"#;
    fs::write(&file, document).expect("write");
    let rest = MAX_SIZE - document.len();
    let found = read(&host, &file, rest).await.expect("within the limit");
    assert_eq!(found.expect("a document").get(), document);
    let error = read(&host, &file, rest + 1).await.expect_err("too large");
    assert!(error.to_string().contains("in sum"), "{error}");
}
