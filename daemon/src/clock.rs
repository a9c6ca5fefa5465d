//! The two clocks: the one of the calendar, which people and other machines know, and the one of the boot, which nobody
//! sets; and which boot that is.

use std::io;
use std::time::{Duration, SystemTime};

use nix::time::{ClockId, clock_gettime};

/// Milliseconds since 1970; 0 on a machine whose clock is before that.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds since the machine has booted, its sleep included; none where the kernel does not say.
pub(crate) fn boottime_ns() -> Option<u64> {
    let since = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    u64::try_from(since.as_nanos()).ok()
}

/// The id of the current boot.
///
/// # Errors
/// As reading `/proc` fails.
pub(crate) fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_the_boot_goes_on() {
        let times = [boottime_ns(), boottime_ns()].map(|time| time.expect("Linux has it"));
        assert!(times[0] > 0 && times[0] <= times[1], "{times:?}");
        let uptime = std::fs::read_to_string("/proc/uptime").expect("it can be read");
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
}
