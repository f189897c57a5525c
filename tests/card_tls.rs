//! TLS with keys that never leave their card or token, against a server of another make: `openssl s_server`, which demands
//! the device's certificate. The handshake is the device's own; the keys process is this executable in another role.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod card_tls {
    pub(crate) mod device;
    pub(crate) mod openssl;
}

use std::process::ExitCode;

use bailiwick_tests::runner::{self, Trial};

use card_tls::device::{self, Device};
use card_tls::openssl;

/// What happens with a device whose keys are on cards.
type Test = fn(&Device);

fn main() -> ExitCode {
    if let Some(played) = bailiwick_tests::role() {
        return played;
    }
    let tests: [(&str, Test); 5] = [
        ("every_key_in_every_version_of_tls", device::every_key),
        ("rsa_where_the_server_knows_no_pss", device::without_pss),
        (
            "a_server_that_takes_only_rsa_is_explained",
            device::only_rsa,
        ),
        ("a_certificate_of_another_ca_is_refused", device::other_ca),
        ("a_card_that_is_pulled_is_named", device::pulled),
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::new(name, move || {
            if openssl::is_missing(name) {
                return Ok(String::new());
            }
            if let Some(device) = Device::new(name) {
                test(&device);
            }
            Ok(String::new())
        })
    });
    runner::run(trials.collect())
}
