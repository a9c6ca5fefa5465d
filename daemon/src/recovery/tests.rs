use super::*;

#[test]
fn a_failed_del_is_retried_after_a_pause_even_if_the_clock_is_set_back() {
    let failures = |count, last_unix_ms| DelFailures {
        count,
        last_unix_ms,
        ..DelFailures::default()
    };
    for (count, last, now, due) in [
        (0, 0, 0, true),
        (1, 5_000, 14_999, false),
        (1, 5_000, 15_000, true),
        (2, 5_000, 15_000, false),
        (2, 5_000, 25_000, true),
        (u32::MAX, 0, 599_999, false),
        (u32::MAX, 0, 600_000, true),
        (1, 900_000_000, 5_000, true),
    ] {
        let failures = failures(count, last);
        assert_eq!(
            is_due(&failures, Duration::from_secs(10), now),
            due,
            "{failures:?} at {now}"
        );
    }
}
