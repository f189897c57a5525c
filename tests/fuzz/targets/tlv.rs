//! Elements of BER-TLV.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(bailiwick::keys::probe::tlv(bytes) <= 4_096);
});
