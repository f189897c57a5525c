//! What `strace` wrote, strictly: a line that is not understood is an error, because a file operation that is
//! overlooked would make every image a lie.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};

/// One system call. Positions are line numbers: the order in which the one tracer saw things.
#[derive(Debug)]
pub(crate) struct Call {
    /// The thread.
    pub(crate) thread: u32,
    /// Such as `pwrite64`.
    pub(crate) name: String,
    /// As strace prints them.
    pub(crate) arguments: Vec<String>,
    /// Negative: it failed. `None`: its thread ended in it, and it may have had its effect or not.
    pub(crate) result: Option<i64>,
    /// It may have had an effect from here on ...
    pub(crate) begin: usize,
    /// ... and has had it from here on.
    pub(crate) end: usize,
    /// When it began, in microseconds since 1970.
    pub(crate) time: u64,
}

impl Call {
    /// An argument as strace prints it.
    pub(crate) fn argument(&self, index: usize) -> Result<&str> {
        let argument = self.arguments.get(index);
        argument
            .map(String::as_str)
            .with_context(|| format!("{}: no argument {index}: {:?}", self.name, self.arguments))
    }

    /// A number, decimal or `0x`.
    pub(crate) fn number(&self, index: usize) -> Result<i64> {
        number(self.argument(index)?)
    }

    /// A string that strace printed whole.
    pub(crate) fn bytes(&self, index: usize) -> Result<Vec<u8>> {
        string(self.argument(index)?)
    }

    /// Whether a flag is among those of an argument.
    pub(crate) fn has(&self, index: usize, flag: &str) -> Result<bool> {
        Ok(self.argument(index)?.split('|').any(|f| f == flag))
    }
}

/// All calls, in the order in which they began.
pub(crate) fn calls(text: &str) -> Result<Vec<Call>> {
    let mut calls = Vec::new();
    // By thread: the call that it is in, as an index, and the beginning of its arguments.
    let mut open: HashMap<u32, (usize, String)> = HashMap::new();
    for (position, line) in text.lines().enumerate() {
        read(line, position, &mut calls, &mut open).with_context(|| {
            let start: String = line.chars().take(200).collect();
            format!("line {}: {start}", position + 1)
        })?;
    }
    // Threads that were killed in a call.
    for (index, rest) in open.into_values() {
        let call: &mut Call = &mut calls[index];
        call.arguments = split(&rest).unwrap_or_default();
    }
    Ok(calls)
}

fn read(
    line: &str,
    position: usize,
    calls: &mut Vec<Call>,
    open: &mut HashMap<u32, (usize, String)>,
) -> Result<()> {
    let (thread, line) = line.split_once(' ').context("no thread")?;
    let thread = thread.parse().context("no thread")?;
    let (time, line) = line.trim_start().split_once(' ').context("no time")?;
    let time = microseconds(time)?;
    if line.starts_with("+++ ") || line.starts_with("--- ") {
        return Ok(());
    }
    if let Some(resumed) = line.strip_prefix("<... ") {
        let (index, start) = open.remove(&thread).context("nothing to resume")?;
        let (name, rest) = resumed.split_once(" resumed>").context("not resumed")?;
        let call = &mut calls[index];
        ensure!(call.name == name, "{name} resumed inside {}", call.name);
        (call.arguments, call.result) = finish(&format!("{start}{rest}"))?;
        call.end = position;
        return Ok(());
    }
    let (name, rest) = line.split_once('(').context("no call")?;
    ensure!(!open.contains_key(&thread), "a call within a call");
    let mut call = Call {
        thread,
        name: name.to_owned(),
        arguments: Vec::new(),
        result: None,
        begin: position,
        end: usize::MAX,
        time,
    };
    match rest.strip_suffix(" <unfinished ...>") {
        Some(start) => {
            open.insert(thread, (calls.len(), start.to_owned()));
        }
        None => {
            (call.arguments, call.result) = finish(rest)?;
            call.end = position;
        }
    }
    calls.push(call);
    Ok(())
}

/// Arguments and result from `3, "\x61", 1) = 1`.
fn finish(rest: &str) -> Result<(Vec<String>, Option<i64>)> {
    // Strings are all in hexadecimal, so the last " = " is never inside one.
    let (arguments, result) = rest.rsplit_once(" = ").context("no result")?;
    let arguments = arguments
        .trim_end()
        .strip_suffix(')')
        .context("no end of arguments")?;
    let result = match result.split_whitespace().next().context("no result")? {
        "?" => None,
        text => Some(number(text)?),
    };
    Ok((split(arguments)?, result))
}

/// Splits at the commas that are in no bracket and no string.
fn split(text: &str) -> Result<Vec<String>> {
    let mut arguments = Vec::new();
    let (mut depth, mut quoted, mut start) = (0_usize, false, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'[' | b'{' | b'(' => depth += 1,
            b']' | b'}' | b')' => depth = depth.checked_sub(1).context("brackets do not match")?,
            b',' if depth == 0 => {
                arguments.push(text[start..at].trim().to_owned());
                start = at + 1;
            }
            _ => {}
        }
    }
    let last = text[start..].trim();
    if !last.is_empty() {
        arguments.push(last.to_owned());
    }
    Ok(arguments)
}

fn number(text: &str) -> Result<i64> {
    let parsed = match text.strip_prefix("0x") {
        // Raw arguments are printed as they lie in the register.
        Some(digits) => u64::from_str_radix(digits, 16).map(|n| n as i64),
        None => text.parse(),
    };
    parsed.with_context(|| format!("not a number: {text}"))
}

fn microseconds(text: &str) -> Result<u64> {
    let (seconds, fraction) = text.split_once('.').context("no time")?;
    ensure!(fraction.len() == 6, "no microseconds");
    Ok(seconds.parse::<u64>()? * 1_000_000 + fraction.parse::<u64>()?)
}

/// The bytes of `"\x61\x62"`.
pub(crate) fn string(text: &str) -> Result<Vec<u8>> {
    let Some(hex) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        bail!(
            "not a whole string: {}",
            text.chars().take(40).collect::<String>()
        );
    };
    ensure!(hex.len().is_multiple_of(4), "not in hexadecimal");
    hex.as_bytes().chunks_exact(4).map(byte).collect()
}

fn byte(text: &[u8]) -> Result<u8> {
    let digit = |d: u8| (d as char).to_digit(16).map(|d| d as u8);
    match text {
        [b'\\', b'x', high, low] => Some((digit(*high), digit(*low))),
        _ => None,
    }
    .and_then(|(high, low)| Some(high? << 4 | low?))
    .context("not in hexadecimal")
}

/// The buffers of `[{iov_base="\x61", iov_len=1}, ...]`, joined.
pub(crate) fn buffers(text: &str) -> Result<Vec<u8>> {
    let list = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let mut joined = Vec::new();
    for part in split(list.context("not a list")?)? {
        let part = part.strip_prefix("{iov_base=").context("not a buffer")?;
        let (base, _length) = part.split_once(", iov_len=").context("not a buffer")?;
        joined.extend(string(base)?);
    }
    Ok(joined)
}

/// The parser against what strace 6.1 writes.
pub(crate) fn test() -> Result<()> {
    let text = r#"7 1.000001 pwrite64(3, "\x61\xff", 2, 4096) = 2
7 1.000002 fsync(3 <unfinished ...>
8 1.000003 writev(4, [{iov_base="\x61", iov_len=1}, {iov_base="\x62\x63", iov_len=2}], 2) = 3
7 1.000004 <... fsync resumed>)             = 0
8 1.000005 openat(AT_FDCWD, "\x2f\x61", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)
8 1.000006 read(0x7, 0x5603eb74f8a0, 0xc350) = 0x10
8 1.000007 exit_group(0)                     = ?
7 1.000008 fsync(5 <unfinished ...>
8 1.000009 +++ exited with 0 +++
"#;
    let calls = calls(text)?;
    ensure!(calls.len() == 7);
    ensure!(calls[0].bytes(1)? == [0x61, 0xff] && calls[0].number(3)? == 4096);
    ensure!((calls[1].begin, calls[1].end, calls[1].result) == (1, 3, Some(0)));
    ensure!(buffers(calls[2].argument(1)?)? == b"abc");
    ensure!(calls[3].result == Some(-1) && calls[3].has(2, "O_CLOEXEC")?);
    ensure!(calls[4].number(2)? == 0xc350 && calls[4].result == Some(16));
    ensure!(calls[6].end == usize::MAX && calls[6].number(0)? == 5);
    let bad = [
        "pwrite64(3, \"\\x61\"..., 2, 4096) = 2",
        "pwrite64(3, \"a\", 1, 0) = 1",
    ];
    for bad in bad {
        let parsed = self::calls(&format!("7 1.000001 {bad}\n"))?;
        ensure!(parsed[0].bytes(1).is_err(), "taken: {bad}");
    }
    for bad in [
        "7 1.000001 what is this\n",
        "nonsense\n",
        "7 1.000001 <... fsync resumed>) = 0\n",
    ] {
        ensure!(self::calls(bad).is_err(), "taken: {bad}");
    }
    Ok(())
}
