//! Wall-clock time, monotonic time since boot, and the boot ID.

use std::io;
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970; 0 if the clock is set to an earlier time.
pub(crate) fn unix_ms() -> u64 {
    let elapsed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds since boot, including suspend. Returns `None` if the kernel has no such clock.
pub(crate) fn boottime_ns() -> Option<u64> {
    let elapsed = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    u64::try_from(elapsed.as_nanos()).ok()
}

pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boottime_advances_and_matches_uptime() {
        let times = [boottime_ns(), boottime_ns()].map(|time| time.expect("a clock"));
        assert!(times[0] > 0 && times[0] <= times[1], "{times:?}");
        let uptime = std::fs::read_to_string("/proc/uptime").expect("uptime");
        let seconds: u64 = uptime
            .split('.')
            .next()
            .and_then(|text| text.parse().ok())
            .expect("a number");
        assert!(
            (times[0] / 1_000_000_000).abs_diff(seconds) <= 1,
            "{times:?} {uptime}"
        );
    }

    #[test]
    fn the_boot_has_an_id() {
        let id = boot_id().expect("the kernel's");
        let groups: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
    }
}
