//! Commands on one instance are serial, whoever sends them. Among those that wait, the one whose authority has
//! precedence on the instance goes first, and among equals the one that came first.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::authority::Instance;
use crate::permissions::Precedence;

/// Who holds an instance, and who waits for it. An instance without entry is free.
#[derive(Clone, Default)]
pub(super) struct Locks {
    taken: Rc<RefCell<HashMap<Instance, Waiting>>>,
}

/// Those that wait, in the order of their turn.
#[derive(Default)]
struct Waiting {
    queue: BTreeMap<(Precedence, u64), oneshot::Sender<Guard>>,
    next: u64,
}

/// The locks that one command holds; released when it is dropped.
#[derive(Default)]
pub(super) struct Held {
    guards: RefCell<BTreeMap<Instance, Guard>>,
}

/// One lock. Dropped, it goes to whoever is next.
struct Guard {
    locks: Locks,
    instance: Instance,
}

impl Locks {
    /// Takes the lock of `instance` unless `held` has it. `false`: others kept it for all of `patience`.
    ///
    /// Two commands that want each other's instances end here too, by the same bound.
    pub(super) async fn take(
        &self,
        held: &Held,
        instance: &Instance,
        precedence: Precedence,
        patience: Duration,
    ) -> bool {
        if self.try_take(held, instance) {
            return true;
        }
        let turn = self.queue(instance, precedence);
        match timeout(patience, turn).await {
            Ok(Ok(guard)) => {
                held.guards.borrow_mut().insert(instance.clone(), guard);
                true
            }
            _ => false,
        }
    }

    /// Takes the lock of `instance` if it is free, or if `held` has it.
    pub(super) fn try_take(&self, held: &Held, instance: &Instance) -> bool {
        if held.guards.borrow().contains_key(instance) {
            return true;
        }
        if self.taken.borrow().contains_key(instance) {
            return false;
        }
        self.taken
            .borrow_mut()
            .insert(instance.clone(), Waiting::default());
        held.guards
            .borrow_mut()
            .insert(instance.clone(), self.guard(instance));
        true
    }

    fn queue(&self, instance: &Instance, precedence: Precedence) -> oneshot::Receiver<Guard> {
        let (give, turn) = oneshot::channel();
        let mut taken = self.taken.borrow_mut();
        let waiting = taken.entry(instance.clone()).or_default();
        // Those that gave up are gone.
        waiting.queue.retain(|_, give| !give.is_closed());
        waiting.queue.insert((precedence, waiting.next), give);
        waiting.next += 1;
        turn
    }

    fn guard(&self, instance: &Instance) -> Guard {
        Guard {
            locks: self.clone(),
            instance: instance.clone(),
        }
    }

    /// The next in turn, or none.
    fn next(&self, instance: &Instance) -> Option<oneshot::Sender<Guard>> {
        let mut taken = self.taken.borrow_mut();
        let next = taken
            .get_mut(instance)
            .and_then(|waiting| waiting.queue.pop_first());
        if next.is_none() {
            taken.remove(instance);
        }
        next.map(|(_, give)| give)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(give) = self.locks.next(&self.instance) {
            // If it has just given up, the guard comes back and is dropped here: the one after it is next.
            let _gave_up = give.send(self.locks.guard(&self.instance));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(20);

    async fn take(locks: &Locks, held: &Held, instance: &Instance) -> bool {
        locks
            .take(held, instance, Precedence::default(), PATIENCE)
            .await
    }

    #[tokio::test]
    async fn a_second_command_waits_and_then_gives_up() {
        let locks = Locks::default();
        let (left, right) = (Instance::new("m", "left"), Instance::new("m", "right"));
        let (first, second) = (Held::default(), Held::default());
        assert!(take(&locks, &first, &left).await);
        assert!(
            take(&locks, &first, &left).await,
            "its own lock is no obstacle"
        );
        assert!(!take(&locks, &second, &left).await);
        assert!(!locks.try_take(&second, &left));
        assert!(
            take(&locks, &second, &right).await,
            "another instance is free"
        );
        drop(first);
        assert!(take(&locks, &second, &left).await);
        drop(second);
        assert!(
            locks.taken.borrow().is_empty(),
            "nothing is kept of what is free"
        );
    }

    #[tokio::test]
    async fn who_gave_up_is_passed_over() {
        let locks = Locks::default();
        let instance = Instance::new("m", "1");
        let (first, second, third) = (Held::default(), Held::default(), Held::default());
        assert!(take(&locks, &first, &instance).await);
        assert!(!take(&locks, &second, &instance).await);
        let turn = locks.queue(&instance, Precedence::default());
        drop(turn);
        drop(first);
        assert!(locks.try_take(&third, &instance));
    }
}
