//! Ends the process when a module does not come back.

use std::sync::Weak;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::{Shared, lock};

/// How much later than its deadline a call may come back. Until then, only who waits for that module is delayed.
const GRACE: Duration = Duration::from_secs(2);
/// How often is looked.
const INTERVAL: Duration = Duration::from_millis(250);

/// Looks as long as the modules are in use.
pub(super) fn start(modules: Weak<Shared>) {
    thread::spawn(move || {
        // Nobody sends: it is a clock.
        let (_sender, clock) = sync_channel::<()>(0);
        while clock.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
            let Some(shared) = modules.upgrade() else {
                return;
            };
            let now = Instant::now();
            let running = lock(&shared.running);
            if let Some((path, _)) = running.values().find(|(_, end)| now > *end + GRACE) {
                tracing::error!(module = %path, "does not come back; the keys process ends, and is started again");
                // Not `exit`: that runs code of the module, which may hang too.
                std::process::abort();
            }
        }
    });
}
