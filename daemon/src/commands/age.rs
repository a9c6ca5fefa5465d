//! Durations for people.

/// A duration in at most two units: `45s`, `12m`, `3h20m`, `5d2h`.
pub(super) fn seconds(seconds: u64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..3600 => format!("{minutes}m"),
        3600..86_400 => format!("{hours}h{}m", minutes % 60),
        _ => format!("{}d{}h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_at_most_two_units() {
        for (number, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (12_000, "3h20m"),
            (439_200, "5d2h"),
        ] {
            assert_eq!(seconds(number), text);
        }
    }
}
