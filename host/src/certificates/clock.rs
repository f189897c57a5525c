//! What time it is at least: certificates are judged by the system's clock, but never before a moment that has passed for
//! sure. A device whose clock is set back, or starts at 1970, does not believe what expired long ago.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// 24 November 2026, Unix time in seconds: no device runs this program before it was written. Raised with each release.
const WRITTEN: u64 = 1_795_478_400;

/// The clock, with its floor; a cheap handle.
///
/// choice: the floor rises to the moments from which certificates and revocation lists hold that were found valid, and to nothing
/// else. It so never passes the system's clock, and no authority can push it into the future.
#[derive(Clone, Debug)]
pub struct Clock(Arc<AtomicU64>);

impl Clock {
    /// Time was at least `floor` (Unix time in seconds) when this device last knew.
    pub fn at_least(floor: u64) -> Self {
        Self(Arc::new(AtomicU64::new(floor.max(WRITTEN))))
    }

    /// Now, Unix time in seconds.
    pub fn now(&self) -> u64 {
        system().max(self.floor())
    }

    /// The floor, Unix time in seconds: what is kept for the next start.
    pub fn floor(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether the system's clock can be believed: it is not before what has passed for sure.
    pub fn is_plausible(&self) -> bool {
        system() >= self.floor()
    }

    /// Something was found valid that holds from this moment on.
    pub(super) fn passed(&self, moment: i64) {
        if let Ok(moment) = u64::try_from(moment)
            && moment <= self.now()
        {
            self.0.fetch_max(moment, Ordering::Relaxed);
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::at_least(0)
    }
}

fn system() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_rises_and_never_passes_the_clock() {
        let clock = Clock::at_least(0);
        assert_eq!(clock.floor(), WRITTEN);
        let now = system();
        clock.passed(i64::try_from(now).unwrap() - 5);
        assert_eq!(clock.floor(), (now - 5).max(WRITTEN));
        for nonsense in [i64::MIN, -1, 0, i64::MAX] {
            clock.passed(nonsense);
            assert!(clock.floor() <= clock.now());
        }
        let ahead = Clock::at_least(now + 1_000);
        assert!(!ahead.is_plausible() && clock.is_plausible());
        assert_eq!(ahead.now(), now + 1_000);
    }
}
