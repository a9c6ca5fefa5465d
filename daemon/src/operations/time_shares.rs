//! Division of a DEL's time limit among its attachments.

use std::time::Duration;

use tokio::time::Instant;

/// The minimum share, which a plugin needs on a busy machine. Without a minimum, each of many
/// attachments would get too little time.
const MIN_SHARE: Duration = Duration::from_secs(1);

/// The time limit of a DEL. Each attachment gets an equal share of the remaining time, so that a
/// hanging plugin does not starve the other attachments, but at least [`MIN_SHARE`] until the limit
/// is reached.
#[derive(Debug)]
pub(super) struct TimeShares {
    end: Instant,
    remaining_attachments: u32,
}

impl TimeShares {
    /// Divides `time`, which starts now.
    pub(super) fn new(time: Duration, attachments: usize) -> Self {
        Self {
            end: Instant::now() + time,
            remaining_attachments: u32::try_from(attachments).unwrap_or(u32::MAX),
        }
    }

    /// The deadline of the next attachment. Returns `None` if no time is left.
    pub(super) fn next(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let remaining = self
            .end
            .checked_duration_since(now)
            .filter(|remaining| !remaining.is_zero())?;
        let share = remaining / self.remaining_attachments.max(1);
        self.remaining_attachments = self.remaining_attachments.saturating_sub(1);
        Some(now + share.max(MIN_SHARE).min(remaining))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// The shares, in milliseconds. `used` is the time that an attachment uses of its share.
    async fn shares(
        time_ms: u64,
        attachments: usize,
        used: impl Fn(usize, Duration) -> Duration,
    ) -> Vec<u128> {
        let mut shares = TimeShares::new(Duration::from_millis(time_ms), attachments);
        let mut millis = Vec::new();
        for index in 0..attachments {
            let Some(deadline) = shares.next() else {
                break;
            };
            let share = deadline - Instant::now();
            millis.push(share.as_millis());
            advance(used(index, share)).await;
        }
        millis
    }

    #[tokio::test(start_paused = true)]
    async fn time_that_an_attachment_does_not_use_goes_to_the_others() {
        assert_eq!(
            shares(50_000, 5, |_, _| Duration::ZERO).await,
            [10_000, 12_500, 16_666, 25_000, 50_000]
        );
        assert_eq!(shares(50_000, 5, |_, share| share).await, [10_000; 5]);
        assert_eq!(shares(3_000, 3, |_, share| share).await, [1_000; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_has_a_minimum_and_the_whole_a_limit() {
        assert_eq!(shares(50_000, 65, |_, share| share).await, [1_000; 50]);
        assert_eq!(
            shares(2_500, 10, |_, share| share).await,
            [1_000, 1_000, 500]
        );
        assert_eq!(shares(500, 2, |_, share| share).await, [500]);
        // With the maximum of attachments, a few that hang do not starve the others.
        let hang = |index, share| {
            if index < 10 {
                share
            } else {
                Duration::from_millis(300)
            }
        };
        assert_eq!(shares(50_000, 65, hang).await.len(), 65);
    }
}
