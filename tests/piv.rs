//! PIV: a card with keys that were made on it, through a real pcscd. The keys process, which is this executable in another
//! role, reads it and signs with it; Yubico's tool has written it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod piv {
    pub(crate) mod card;
    pub(crate) mod opensc;
}

use std::process::ExitCode;

use bailiwick_tests::runner::{self, Trial};

use piv::{card, opensc};

fn main() -> ExitCode {
    if let Some(played) = bailiwick_tests::role() {
        return played;
    }
    let tests: &[(&str, fn())] = &[
        ("a_piv_card_is_read_and_signs", card::is_read_and_signs),
        ("a_piv_card_that_is_empty_says_so", card::empty),
        (
            "a_wrong_pin_is_tried_once_and_the_last_try_is_kept",
            card::wrong_pins,
        ),
        ("a_compressed_certificate_is_read", card::compressed),
        ("a_piv_card_is_prepared_as_documented", card::as_documented),
        (
            "a_card_through_opensc_comes_and_goes",
            opensc::comes_and_goes,
        ),
    ];
    let trials = tests.iter().map(|(name, test)| {
        Trial::new(*name, || {
            test();
            Ok(String::new())
        })
    });
    runner::run(trials.collect())
}
