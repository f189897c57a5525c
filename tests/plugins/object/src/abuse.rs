//! Breaks off, never ends, uses up what it has, reaches for what is not there.

use std::hint::black_box;

use bailiwick_plugin::{Node, call};

use crate::{harmless, text};

/// The instruction `unreachable`.
pub(crate) fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    panic!("there is no such instruction here");
}

/// Wants its last words in the log: 1 MiB of them.
pub(crate) fn panic_at_length() -> ! {
    panic!("{}", "last words\n".repeat(100_000));
}

pub(crate) fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

pub(crate) fn recurse() -> ! {
    #[allow(unconditional_recursion, reason = "that is the abuse")]
    fn deeper(depth: u64) -> u64 {
        black_box(deeper(black_box(depth + 1)) + 1)
    }
    deeper(0);
    unreachable!()
}

pub(crate) fn allocate() -> ! {
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Answers, but only when the time is up.
pub(crate) fn answer_late() -> Vec<Node> {
    while call::current().remaining_ms > 0 {}
    for _ in 0..10_000 {
        call::current();
    }
    harmless()
}

pub(crate) fn read_the_clock() -> Vec<Node> {
    text(format!("{:?}", std::time::SystemTime::now()))
}

pub(crate) fn print() -> Vec<Node> {
    println!("hello from the sandbox");
    harmless()
}

pub(crate) fn open_file() -> Vec<Node> {
    text(format!("{:?}", std::fs::read("/etc/passwd")))
}

pub(crate) fn read_the_environment() -> Vec<Node> {
    text(format!("{:?}", std::env::vars().collect::<Vec<_>>()))
}

pub(crate) fn draw_a_random_number() -> Vec<Node> {
    use std::hash::{BuildHasher, Hasher, RandomState};
    text(RandomState::new().build_hasher().finish().to_string())
}

pub(crate) fn exit() -> ! {
    std::process::exit(0)
}
