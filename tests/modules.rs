//! PKCS#11: keys in a token of SoftHSM2, and a module that crashes or hangs. Everything goes through the real keys process,
//! which is this executable in another role.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod modules {
    pub(crate) mod docs;
    pub(crate) mod hostile;
    pub(crate) mod provisioned;
    pub(crate) mod tokens;
    pub(crate) mod world;
}

use std::process::ExitCode;

use bailiwick_tests::runner::{self, Trial};

use modules::{docs, hostile, provisioned, tokens};

fn main() -> ExitCode {
    if let Some(played) = bailiwick_tests::role() {
        return played;
    }
    let tests: &[(&str, fn())] = &[
        ("a_token_is_read", tokens::is_read),
        ("every_scheme_is_signed", tokens::signs),
        ("a_key_that_asks_each_time_is_asked", tokens::asks_each_time),
        ("a_wrong_pin_is_tried_once", tokens::wrong_pin),
        ("a_person_unlocks_a_token", tokens::unlocked),
        ("only_believed_marks_make_anchors", tokens::marks),
        ("a_token_is_prepared_as_documented", docs::as_documented),
        (
            "a_token_provisions_the_authority_that_is_bound_to_it",
            provisioned::by_a_token,
        ),
        ("a_module_that_aborts_costs_one_signature", hostile::aborts),
        ("a_module_that_hangs_costs_one_signature", hostile::hangs),
        ("a_signature_of_giant_length_is_refused", hostile::giant),
        ("a_module_that_ends_the_process_when_loaded", hostile::load),
        ("a_module_that_is_none_is_named", hostile::none),
    ];
    let trials = tests.iter().map(|(name, test)| {
        Trial::new(*name, || {
            test();
            Ok(String::new())
        })
    });
    runner::run(trials.collect())
}
