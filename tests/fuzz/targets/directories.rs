//! Directory files of PKCS#15, and certificates.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    assert!(bailiwick::keys::probe::directories(bytes) <= 7 * 128);
    bailiwick::keys::probe::certificate(bytes);
});
