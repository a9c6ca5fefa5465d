//! How the attachments of one DEL share its time.

use std::time::Duration;

use tokio::time::Instant;

/// What a DEL needs at least on a busy machine. Many attachments would else leave none of them enough.
const FLOOR: Duration = Duration::from_secs(1);

/// The time of a DEL. Each attachment gets its part of what is left, so that one that hangs does not starve the others;
/// and no less than [`FLOOR`], as long as the time of the whole lasts.
#[derive(Debug)]
pub(super) struct Shares {
    end: Instant,
    attachments: u32,
}

impl Shares {
    /// `time` for so many attachments, from now.
    pub(super) fn of(time: Duration, attachments: usize) -> Self {
        Self {
            end: Instant::now() + time,
            attachments: u32::try_from(attachments).unwrap_or(u32::MAX),
        }
    }

    /// The time by which the next attachment is to be deleted; none where no time is left.
    pub(super) fn next(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let left = self
            .end
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())?;
        let share = left / self.attachments.max(1);
        self.attachments = self.attachments.saturating_sub(1);
        Some(now + share.max(FLOOR).min(left))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// The shares, in milliseconds, of attachments that take this long of theirs.
    async fn shares(
        time_ms: u64,
        attachments: usize,
        takes: impl Fn(usize, Duration) -> Duration,
    ) -> Vec<u128> {
        let mut shares = Shares::of(Duration::from_millis(time_ms), attachments);
        let mut given = Vec::new();
        for index in 0..attachments {
            let Some(end) = shares.next() else { break };
            let share = end - Instant::now();
            given.push(share.as_millis());
            advance(takes(index, share)).await;
        }
        given
    }

    #[tokio::test(start_paused = true)]
    async fn what_one_leaves_the_others_have() {
        assert_eq!(
            shares(50_000, 5, |_, _| Duration::ZERO).await,
            [10_000, 12_500, 16_666, 25_000, 50_000]
        );
        assert_eq!(shares(50_000, 5, |_, share| share).await, [10_000; 5]);
        assert_eq!(shares(3_000, 3, |_, share| share).await, [1_000; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_has_a_floor_and_the_whole_has_its_end() {
        assert_eq!(shares(50_000, 65, |_, share| share).await, [1_000; 50]);
        assert_eq!(
            shares(2_500, 10, |_, share| share).await,
            [1_000, 1_000, 500]
        );
        assert_eq!(shares(500, 2, |_, share| share).await, [500]);
        // Of the most that a pod may have, a few that hang take nothing from the others.
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
