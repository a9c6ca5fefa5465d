use super::*;
use crate::ledger::test_helpers::{BOOT, planned};

#[test]
fn a_plan_is_after_a_moment_only_if_that_is_certain() {
    let moment = |boot_id: &str, boottime_ns| Moment {
        boot_id: boot_id.to_owned(),
        boottime_ns,
    };
    let mut planned = planned("c1", "eth0", 1);
    planned.created_boottime_ns = Some(5);
    for (at, now, after) in [
        (moment(BOOT, 4), BOOT, true),
        (moment(BOOT, 5), BOOT, false),
        (moment(BOOT, 6), BOOT, false),
        (moment("before", 6), BOOT, true),
        (moment("now", 4), "now", false),
        (moment(BOOT, 4), "now", false),
        (moment("before", 4), "now", false),
    ] {
        assert_eq!(planned.is_after(&at, now), after, "{at:?} in {now}");
    }
    planned.created_boottime_ns = None;
    assert!(
        !planned.is_after(&moment(BOOT, 4), BOOT) && planned.is_after(&moment("before", 4), BOOT)
    );
}
