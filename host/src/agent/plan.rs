//! Which sessions have to be held, and when: at once, or after a wait that doubles with every failure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::authority::Authority;
use crate::config::Limits;
use crate::local::Held;
use crate::session::Reason;

/// Chooses a number between 0 and 1, so that devices that failed together do not come back together.
pub(super) type Jitter = fn() -> f64;

/// What happens after a session failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It is tried again until it has been held, or trying is pointless.
    UntilHeld,
    /// Whoever wanted it decides.
    Once,
}

/// The plans of all authorities.
pub(super) struct Plans {
    retry: Duration,
    retry_max: Duration,
    jitter: Jitter,
    plans: BTreeMap<Authority, Plan>,
}

/// The sessions of one authority.
#[derive(Default)]
struct Plan {
    /// To be held.
    wanted: Option<Wanted>,
    /// Being held.
    running: Option<Running>,
    /// In a row.
    failures: u32,
}

struct Wanted {
    reason: Reason,
    urgency: Urgency,
    not_before: Instant,
    waiting: Vec<oneshot::Sender<Held>>,
}

struct Running {
    reason: Reason,
    urgency: Urgency,
    waiting: Vec<oneshot::Sender<Held>>,
}

impl Plans {
    pub(super) fn new(limits: &Limits, jitter: Jitter) -> Self {
        Self {
            retry: Duration::from_millis(limits.retry_ms),
            retry_max: Duration::from_millis(limits.retry_max_ms),
            jitter,
            plans: BTreeMap::new(),
        }
    }

    /// A session has to be held as soon as possible; earlier failures are forgotten.
    pub(super) fn want(
        &mut self,
        authority: Authority,
        reason: Reason,
        urgency: Urgency,
        now: Instant,
    ) {
        let plan = self.plans.entry(authority).or_default();
        plan.failures = 0;
        let wanted = plan.wanted.get_or_insert(Wanted {
            reason,
            urgency,
            not_before: now,
            waiting: Vec::new(),
        });
        wanted.not_before = now;
        if urgency == Urgency::UntilHeld {
            (wanted.reason, wanted.urgency) = (reason, urgency);
        }
    }

    /// The operator wants a session now and waits for its end. While one runs, it is the answer: two at a time
    /// would say nothing more.
    pub(super) fn want_now(
        &mut self,
        authority: Authority,
        waiting: oneshot::Sender<Held>,
        now: Instant,
    ) {
        if let Some(running) = self
            .plans
            .get_mut(&authority)
            .and_then(|p| p.running.as_mut())
        {
            running.waiting.push(waiting);
            return;
        }
        self.want(
            authority.clone(),
            Reason::ClientInitiated,
            Urgency::Once,
            now,
        );
        if let Some(wanted) = self
            .plans
            .get_mut(&authority)
            .and_then(|p| p.wanted.as_mut())
        {
            wanted.waiting.push(waiting);
        }
    }

    /// The next session whose time has come, if fewer than `limit` run. It counts as running from now on.
    pub(super) fn start(&mut self, limit: usize, now: Instant) -> Option<(Authority, Reason)> {
        if self
            .plans
            .values()
            .filter(|plan| plan.running.is_some())
            .count()
            >= limit
        {
            return None;
        }
        let due = self
            .plans
            .iter_mut()
            .filter(|(_, plan)| plan.due().is_some_and(|due| due <= now));
        // The longest overdue first: no authority can keep another one waiting for ever.
        let (authority, plan) = due.min_by_key(|(_, plan)| plan.due())?;
        let Wanted {
            reason,
            urgency,
            waiting,
            ..
        } = plan.wanted.take()?;
        plan.running = Some(Running {
            reason,
            urgency,
            waiting,
        });
        Some((authority.clone(), reason))
    }

    /// A session has ended. Whoever waits is told; if it has to be held, it is planned again.
    pub(super) fn ended(
        &mut self,
        authority: &Authority,
        held: Held,
        worth_retrying: bool,
        now: Instant,
    ) {
        let Some(plan) = self.plans.get_mut(authority) else {
            return;
        };
        let Some(Running {
            reason,
            urgency,
            waiting,
        }) = plan.running.take()
        else {
            return;
        };
        let succeeded = matches!(held, Ok((true, ..)));
        plan.failures = if succeeded {
            0
        } else {
            plan.failures.saturating_add(1)
        };
        if !succeeded && urgency == Urgency::UntilHeld && plan.wanted.is_none() {
            if worth_retrying {
                let wait = wait(self.retry, self.retry_max, plan.failures, (self.jitter)());
                tracing::info!(%authority, seconds = wait.as_secs(), "the session is tried again later");
                let not_before = now + wait;
                plan.wanted = Some(Wanted {
                    reason,
                    urgency,
                    not_before,
                    waiting: Vec::new(),
                });
            } else {
                tracing::error!(%authority, "the session is not tried again: somebody has to correct something first; \
                    `bailiwick session` or a restart tries it");
            }
        }
        if plan.wanted.is_none() {
            self.plans.remove(authority);
        }
        for waiting in waiting {
            // The operator has gone.
            let _gone = waiting.send(held.clone());
        }
    }

    /// The account rests: nothing is held with it until somebody wants it again.
    pub(super) fn rest(&mut self, authority: &Authority) {
        let Some(plan) = self.plans.get_mut(authority) else {
            return;
        };
        if let Some(wanted) = plan.wanted.take() {
            for waiting in wanted.waiting {
                // The operator has gone.
                let _gone =
                    waiting.send(Err("the account rests; `bailiwick status` says why".into()));
            }
        }
        if plan.running.is_none() {
            self.plans.remove(authority);
        }
    }

    /// When the next session has to start; sessions that could start now and must wait for others do not count.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let now = Instant::now();
        self.plans
            .values()
            .filter_map(Plan::due)
            .filter(|due| *due > now)
            .min()
    }

    /// When the session of an authority is tried next.
    pub(super) fn next_try(&self, authority: &Authority) -> Option<Instant> {
        self.plans.get(authority)?.due()
    }

    pub(super) fn is_any_running(&self) -> bool {
        self.plans.values().any(|plan| plan.running.is_some())
    }
}

impl Plan {
    /// When the session that is wanted may start; never while another runs.
    fn due(&self) -> Option<Instant> {
        match (&self.running, &self.wanted) {
            (None, Some(wanted)) => Some(wanted.not_before),
            _ => None,
        }
    }
}

/// How long to wait after that many failures in a row: it doubles from `first` to `longest`, less up to half of it.
fn wait(first: Duration, longest: Duration, failures: u32, jitter: f64) -> Duration {
    let doubled = first.saturating_mul(
        1_u32
            .checked_shl(failures.saturating_sub(1))
            .unwrap_or(u32::MAX),
    );
    let longest = doubled.min(longest);
    longest.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn plans() -> Plans {
        let limits = Limits {
            retry_ms: 1_000,
            retry_max_ms: 60_000,
            ..Limits::default()
        };
        Plans::new(&limits, || 0.0)
    }

    fn authority(name: &str) -> Authority {
        Authority::server(name)
    }

    fn held(succeeded: bool) -> Held {
        Ok((succeeded, Value::Null, String::new()))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn waits_double_up_to_the_longest_and_vary() {
        let (first, longest) = (seconds(1), seconds(60));
        for (failures, jitter, expected) in [
            (1, 0.0, 1.0),
            (2, 0.0, 2.0),
            (6, 0.0, 32.0),
            (7, 0.0, 60.0),
            (u32::MAX, 0.0, 60.0),
            (1, 1.0, 0.5),
            (7, 0.5, 45.0),
        ] {
            let found = wait(first, longest, failures, jitter).as_secs_f64();
            assert!(
                (found - expected).abs() < 1e-6,
                "{failures} {jitter}: {found}"
            );
        }
    }

    #[test]
    fn a_session_that_has_to_be_held_is_tried_until_it_was() {
        let (mut plans, a, start) = (plans(), authority("a"), Instant::now());
        plans.want(
            a.clone(),
            Reason::BootstrapComplete,
            Urgency::UntilHeld,
            start,
        );
        let mut now = start;
        for wait in [1, 2, 4] {
            assert_eq!(
                plans.start(9, now),
                Some((a.clone(), Reason::BootstrapComplete))
            );
            assert_eq!(
                plans.start(9, now),
                None,
                "one session of an authority at a time"
            );
            plans.ended(&a, held(false), true, now);
            assert_eq!(plans.start(9, now), None, "not before its time");
            now += seconds(wait);
            assert_eq!(plans.next_try(&a), Some(now));
        }
        plans.start(9, now).unwrap();
        plans.ended(&a, held(true), false, now);
        assert_eq!(plans.next_try(&a), None);
        assert!(plans.plans.is_empty());
    }

    #[test]
    fn what_is_pointless_is_not_tried_again() {
        let (mut plans, a, now) = (plans(), authority("a"), Instant::now());
        plans.want(
            a.clone(),
            Reason::BootstrapComplete,
            Urgency::UntilHeld,
            now,
        );
        plans.start(9, now).unwrap();
        plans.ended(&a, held(false), false, now);
        assert_eq!(plans.next_try(&a), None);
    }

    #[tokio::test]
    async fn the_operator_waits_and_does_not_cause_retries() {
        let (mut plans, a, now) = (plans(), authority("a"), Instant::now());
        let (first, told_first) = oneshot::channel();
        plans.want_now(a.clone(), first, now);
        assert_eq!(
            plans.start(9, now),
            Some((a.clone(), Reason::ClientInitiated))
        );
        let (second, told_second) = oneshot::channel();
        plans.want_now(a.clone(), second, now);
        plans.ended(&a, Err("no".into()), true, now);
        assert_eq!(told_first.await.unwrap(), Err("no".to_owned()));
        assert_eq!(told_second.await.unwrap(), Err("no".to_owned()));
        assert_eq!(plans.next_try(&a), None);
    }

    #[tokio::test]
    async fn the_operator_does_not_wait_for_a_retry_and_does_not_end_it() {
        let (mut plans, a, now) = (plans(), authority("a"), Instant::now());
        plans.want(
            a.clone(),
            Reason::BootstrapComplete,
            Urgency::UntilHeld,
            now,
        );
        plans.start(9, now).unwrap();
        plans.ended(&a, held(false), true, now);
        let (waiting, told) = oneshot::channel();
        plans.want_now(a.clone(), waiting, now);
        assert_eq!(
            plans.start(9, now),
            Some((a.clone(), Reason::BootstrapComplete))
        );
        plans.ended(&a, held(false), true, now);
        assert_eq!(told.await.unwrap(), held(false));
        assert!(plans.next_try(&a).is_some(), "it still has to be held");
    }

    #[test]
    fn a_bootstrap_during_a_session_gets_a_session_of_its_own() {
        let (mut plans, a, now) = (plans(), authority("a"), Instant::now());
        plans.want(a.clone(), Reason::ClientInitiated, Urgency::Once, now);
        plans.start(9, now).unwrap();
        plans.want(
            a.clone(),
            Reason::BootstrapComplete,
            Urgency::UntilHeld,
            now,
        );
        assert_eq!(plans.start(9, now), None);
        plans.ended(&a, held(true), false, now);
        assert_eq!(plans.start(9, now), Some((a, Reason::BootstrapComplete)));
    }

    #[test]
    fn no_more_run_at_a_time_than_may_and_all_get_their_turn() {
        let (mut plans, start) = (plans(), Instant::now());
        for (after, name) in [(2, "a"), (1, "b"), (0, "c")] {
            let now = start + seconds(after);
            plans.want(authority(name), Reason::ClientInitiated, Urgency::Once, now);
        }
        let now = start + seconds(5);
        let mut order = Vec::new();
        while let Some((authority, _)) = plans.start(1, now) {
            assert_eq!(plans.start(1, now), None);
            assert!(plans.is_any_running());
            plans.ended(&authority, held(true), false, now);
            order.push(authority.to_string());
        }
        assert_eq!(order, ["c", "b", "a"], "the longest overdue first");
        assert!(!plans.is_any_running());
    }
}
