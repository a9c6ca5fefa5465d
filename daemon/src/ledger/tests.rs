use super::test_helpers::planned;
use super::*;

mod files;
mod readers;
mod records;

/// Adds a record with a plan of `count` attachments.
async fn plan(ledger: &Ledger, container_id: &str, ifname: &str, count: usize) -> Record {
    let lock = ledger
        .wait_for_add(container_id, ifname)
        .await
        .expect("the only ADD");
    lock.plan(planned(container_id, ifname, count))
        .await
        .expect("a new record")
}
