//! How much a sandbox may write into the log: so many bytes a second, and a word about what was dropped.

use std::time::{Duration, Instant};

/// Longest line, bytes.
const LINE: usize = 4096;

/// Characters that do something to the line or the terminal instead of being in it: control characters, line and
/// paragraph separators, marks that turn the direction of writing, characters of no width.
fn is_disruptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A text as one line of at most `limit` bytes, with spaces for characters that are not to be shown.
pub(super) fn one_line(text: &str, limit: usize) -> String {
    text.chars()
        .map(|c| if is_disruptive(c) { ' ' } else { c })
        .scan(0, |bytes, c| {
            *bytes += c.len_utf8();
            (*bytes <= limit).then_some(c)
        })
        .collect()
}

/// A budget that refills every second.
#[derive(Debug)]
pub struct Budget {
    per_second: usize,
    left: usize,
    refilled: Instant,
    dropped: u64,
}

impl Budget {
    /// `per_second` bytes a second.
    pub fn new(per_second: usize) -> Self {
        Self {
            per_second,
            left: per_second,
            refilled: Instant::now(),
            dropped: 0,
        }
    }

    /// The line as it may be written: cut to 4 096 bytes, without control characters; `None`: the budget is spent.
    pub fn admit(&mut self, line: &str) -> Option<String> {
        if self.refilled.elapsed() >= Duration::from_secs(1) {
            self.refilled = Instant::now();
            self.left = self.per_second;
        }
        let line = one_line(line, LINE);
        let cost = line.len().max(1);
        if cost > self.left {
            self.left = 0;
            self.dropped += 1;
            return None;
        }
        self.left -= cost;
        Some(match std::mem::take(&mut self.dropped) {
            0 => line,
            dropped => format!("{line} ({dropped} lines before this one were dropped)"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_off_and_a_line_is_cleaned() {
        let mut budget = Budget::new(100);
        assert_eq!(
            budget.admit("a\nb\u{1b}c\u{2028}d\u{202e}").as_deref(),
            Some("a b c d ")
        );
        let admitted = (0..1000)
            .filter(|_| budget.admit("0123456789").is_some())
            .count();
        assert!(admitted <= 9, "{admitted}");
        assert_eq!(
            Budget::new(100_000)
                .admit(&"ü".repeat(5000))
                .map(|line| line.len()),
            Some(LINE)
        );
    }

    #[test]
    fn empty_lines_cost_as_well() {
        let mut budget = Budget::new(10);
        let admitted = (0..100).filter(|_| budget.admit("").is_some()).count();
        assert!(admitted <= 10, "{admitted}");
    }
}
