//! What is measured while a plug-in misbehaves: how long others wait, what processes keep, what is logged.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How long calls took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// 99 of 100 took no longer.
    p99: Duration,
    longest: Duration,
}

impl Waits {
    pub(crate) fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let place = (times.len() * 99).div_ceil(100).saturating_sub(1);
        Self {
            p99: times.get(place).copied().unwrap_or_default(),
            longest: times.last().copied().unwrap_or_default(),
        }
    }
}

/// What the p99 of the other authority may grow to: twice its quiet self, and a tick of the kernel's scheduler. Three
/// processes are at work, and where there are two processors, one of them has to wait.
const P99: Duration = Duration::from_millis(4);
/// The same for its longest wait, which tells a single stall. Machines that others use as well stall by themselves.
const LONGEST: Duration = Duration::from_millis(100);

/// How long the other authority waited while all was quiet, and while a plug-in misbehaved.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Comparison {
    pub(crate) quiet: Waits,
    pub(crate) during: Waits,
}

impl Comparison {
    /// By how much it waited too long; zero: it did not.
    fn excess(&self) -> Duration {
        let beyond = |quiet: Duration, during: Duration, allowance: Duration| {
            during.saturating_sub(quiet * 2 + allowance)
        };
        beyond(self.quiet.p99, self.during.p99, P99)
            + beyond(self.quiet.longest, self.during.longest, LONGEST)
    }

    /// Whether it waited no longer than it may.
    pub(crate) fn is_fine(&self) -> bool {
        self.excess().is_zero()
    }

    /// The best of several attempts, in words: the machine is shared.
    pub(crate) fn best(attempts: &[Self]) -> Result<String, String> {
        let best = attempts.iter().min_by_key(|attempt| attempt.excess());
        let best = best.ok_or("nothing was measured")?;
        let note = format!(
            "the other authority's p99 {} -> {} ms, longest {} -> {} ms",
            milliseconds(best.quiet.p99),
            milliseconds(best.during.p99),
            milliseconds(best.quiet.longest),
            milliseconds(best.during.longest),
        );
        if best.is_fine() {
            Ok(note)
        } else {
            Err(format!("waits too long: {note}"))
        }
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

/// Resident bytes of a process and its like, from `/proc`.
pub(crate) fn resident(processes: impl IntoIterator<Item = u32>) -> u64 {
    let page = rustix::param::page_size() as u64;
    let pages = processes.into_iter().map(|process| {
        let text = std::fs::read_to_string(format!("/proc/{process}/statm")).unwrap_or_default();
        text.split(' ')
            .nth(1)
            .and_then(|pages| pages.parse::<u64>().ok())
            .unwrap_or(0)
    });
    pages.sum::<u64>() * page
}

/// Processes that this one has started and that still run.
pub(crate) fn children() -> Vec<u32> {
    let own = std::process::id();
    let list = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
    list.unwrap_or_default()
        .split_whitespace()
        .filter_map(|process| process.parse().ok())
        .collect()
}

/// Others may be busy on this machine. While it lives, this process and its children go before them, where it may.
pub(crate) struct Ahead(String);

impl Ahead {
    pub(crate) fn of_others() -> Self {
        // The kernel weighs sessions first, and processes within one only.
        let session = std::fs::read_to_string(SESSION).unwrap_or_default();
        let before = session.rsplit(' ').next().unwrap_or("0").trim().to_owned();
        let _ = std::fs::write(SESSION, "-15");
        let _ = rustix::process::setpriority_process(None, -15);
        Self(before)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        let _ = std::fs::write(SESSION, &self.0);
    }
}

const SESSION: &str = "/proc/self/autogroup";

/// What the daemon logs, in memory.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Lines>>);

impl Log {
    /// Collects from now on, for the whole process.
    pub(crate) fn collect() -> Self {
        let log = Self::default();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(LevelFilter::INFO)
            .with_writer(log.clone())
            .init();
        log
    }

    /// Forgets what was logged, and begins to count.
    pub(crate) fn clear(&self) {
        *self.lock() = Lines::default();
    }

    /// Whether what was logged since is lines of bounded length without anything that acts on the reader's terminal,
    /// and no more than a sandbox may write.
    pub(crate) fn check(&self) -> Result<(), String> {
        let lines = self.lock();
        let text = String::from_utf8_lossy(&lines.bytes);
        let disrupts = |c: char| {
            (c.is_control() && c != '\n') || matches!(c, '\u{2028}'..='\u{202e}' | '\u{feff}')
        };
        if let Some(line) = text.lines().find(|line| line.contains(disrupts)) {
            return Err(format!("in the log: {line:?}"));
        }
        if let Some(line) = text.lines().find(|line| line.len() > LONGEST_LINE) {
            return Err(format!("a line of {} bytes is in the log", line.len()));
        }
        let seconds = lines.since.elapsed().as_secs() as usize + 2;
        let (found, limit) = (lines.bytes.len(), seconds * LOG_BYTES_PER_SECOND);
        if found > limit {
            return Err(format!("{found} bytes were logged in {seconds} s"));
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Lines> {
        self.0.lock().expect("the log")
    }
}

/// What a plug-in may make of one line, and what the daemon puts before it.
const LONGEST_LINE: usize = 4096 + 512;
/// Three sandboxes may write, and the daemon says who crashed.
const LOG_BYTES_PER_SECOND: usize = 4 * (16 << 10);

struct Lines {
    bytes: Vec<u8>,
    since: Instant,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            since: Instant::now(),
        }
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.lock().bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
