//! Commands on one instance are serial, whoever sends them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::authority::Instance;

/// Idle locks that are kept before they are swept.
const IDLE: usize = 256;

/// A lock per instance, made when it is first needed. First come, first served.
#[derive(Default)]
pub(super) struct Locks {
    known: RefCell<HashMap<Instance, Arc<Mutex<()>>>>,
}

/// The locks that one command holds; released when it is dropped.
#[derive(Default)]
pub(super) struct Held {
    guards: RefCell<BTreeMap<Instance, OwnedMutexGuard<()>>>,
}

impl Locks {
    /// Takes the lock of `instance` unless `held` has it. `false`: somebody else kept it for all of `patience`.
    ///
    /// Two commands that want each other's instances end here too, by the same bound.
    pub(super) async fn take(&self, held: &Held, instance: &Instance, patience: Duration) -> bool {
        if held.guards.borrow().contains_key(instance) {
            return true;
        }
        let lock = self.lock(instance);
        match timeout(patience, lock.lock_owned()).await {
            Ok(guard) => {
                held.guards.borrow_mut().insert(instance.clone(), guard);
                true
            }
            Err(_) => false,
        }
    }

    /// Takes the lock of `instance` if it is free, or if `held` has it.
    pub(super) fn try_take(&self, held: &Held, instance: &Instance) -> bool {
        if held.guards.borrow().contains_key(instance) {
            return true;
        }
        let guard = self.lock(instance).try_lock_owned();
        guard
            .map(|guard| held.guards.borrow_mut().insert(instance.clone(), guard))
            .is_ok()
    }

    fn lock(&self, instance: &Instance) -> Arc<Mutex<()>> {
        let mut known = self.known.borrow_mut();
        if known.len() >= IDLE {
            known.retain(|_, lock| Arc::strong_count(lock) > 1);
        }
        Arc::clone(known.entry(instance.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_second_command_waits_and_then_gives_up() {
        let locks = Locks::default();
        let (left, right) = (Instance::new("m", "left"), Instance::new("m", "right"));
        let (first, second) = (Held::default(), Held::default());

        assert!(locks.take(&first, &left, PATIENCE).await);
        assert!(
            locks.take(&first, &left, PATIENCE).await,
            "its own lock is no obstacle"
        );
        assert!(!locks.take(&second, &left, PATIENCE).await);
        assert!(
            locks.take(&second, &right, PATIENCE).await,
            "another instance is free"
        );
        drop(first);
        assert!(locks.take(&second, &left, PATIENCE).await);
    }

    #[tokio::test]
    async fn idle_locks_are_swept_and_held_ones_stay() {
        let locks = Locks::default();
        let held = Held::default();
        let kept = Instance::new("m", "kept");
        assert!(locks.take(&held, &kept, PATIENCE).await);
        for n in 0..2 * IDLE {
            assert!(
                locks
                    .take(
                        &Held::default(),
                        &Instance::new("m", n.to_string()),
                        PATIENCE
                    )
                    .await
            );
        }
        assert!(locks.known.borrow().len() <= IDLE + 1);
        assert!(!locks.take(&Held::default(), &kept, PATIENCE).await);
    }
}
