//! A card that answers whatever it likes: the input is its answers, each with its length before it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let mut answer = |_: &[u8]| {
        let (length, more) = rest.split_first()?;
        // A length of 255 stands for the longest answer.
        let length = if *length == 255 { 258 } else { usize::from(*length) };
        let (answer, more) = more.split_at_checked(length)?;
        rest = more;
        Some(answer.to_vec())
    };
    let (_, commands) = bailiwick::keys::probe::card(&mut answer);
    assert!(commands <= 4_000);
});
