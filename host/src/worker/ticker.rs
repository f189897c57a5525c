//! The clock that interrupts guests: a thread that raises the engine's epoch while a guest runs, and sleeps for
//! good while none does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::Engine;

/// How often a running guest is looked at.
const TICK: Duration = Duration::from_millis(5);
/// Ticks without a guest before the thread goes to sleep.
const PATIENCE: u32 = 40;

/// Handle on the clock.
pub(super) struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
}

struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
}

/// While it lives, the clock ticks.
pub(super) struct Running<'a>(&'a Shared);

impl Ticker {
    /// Starts the thread. It allocates nothing and lives as long as the process.
    pub(super) fn start(engine: &Engine) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            running: AtomicUsize::new(0),
            asleep: AtomicBool::new(false),
        });
        let (theirs, engine) = (Arc::clone(&shared), engine.clone());
        let thread = thread::Builder::new()
            .name("clock".into())
            .stack_size(64 << 10)
            .spawn(move || tick(&theirs, &engine))?;
        Ok(Self {
            shared,
            thread: thread.thread().clone(),
        })
    }

    /// A guest starts to run.
    pub(super) fn guest_runs(&self) -> Running<'_> {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.swap(false, Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(&self.shared)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn tick(shared: &Shared, engine: &Engine) {
    let mut quiet = 0;
    loop {
        #[expect(
            clippy::disallowed_methods,
            reason = "this thread does nothing else, and stops while no guest runs"
        )]
        thread::sleep(TICK);
        engine.increment_epoch();
        quiet = if shared.running.load(Ordering::SeqCst) == 0 {
            quiet + 1
        } else {
            0
        };
        if quiet >= PATIENCE {
            shared.asleep.store(true, Ordering::SeqCst);
            // A guest that started just now has either seen `asleep` or is seen here.
            while shared.asleep.load(Ordering::SeqCst) && shared.running.load(Ordering::SeqCst) == 0
            {
                thread::park();
            }
            shared.asleep.store(false, Ordering::SeqCst);
            quiet = 0;
        }
    }
}
