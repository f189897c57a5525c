//! Smart cards: real readers through a real pcscd, with cards whose operating system is not this project's. The keys
//! process reads them; OpenSC judges.
//!
//! ```text
//! bed       the test bed itself
//! reading   what is on a card, in all forms in which cards write it
//! signing   keys of cards
//! pins      PINs, their counters, and when one is tried
//! files     cards whose files lie, loop, are cut off or too large
//! failing   cards that are pulled, swapped, mute or slow
//! service   readers and pcscd that come and go
//! daemon    the same before the whole daemon
//! ```

mod cards {
    pub(crate) mod bed;
    pub(crate) mod daemon;
    pub(crate) mod failing;
    pub(crate) mod files;
    pub(crate) mod pins;
    pub(crate) mod reading;
    pub(crate) mod service;
    pub(crate) mod signing;
    pub(crate) mod stage;
}

use std::process::ExitCode;

use bailiwick_tests::runner::{self, Trial};
use cards::{bed, daemon, failing, files, pins, reading, service, signing};

/// A test, by its name.
macro_rules! tests {
    ($($module:ident::$test:ident),* $(,)?) => {
        vec![$((stringify!($test), $module::$test as fn(&str))),*]
    };
}

fn main() -> ExitCode {
    if let Some(played) = bailiwick_tests::role() {
        return played;
    }
    let tests = tests![
        bed::opensc_reads_the_card,
        bed::cards_come_and_go,
        reading::what_is_on_a_card_is_read_as_opensc_reads_it,
        reading::every_form_of_the_same_says_the_same,
        reading::data_that_want_a_pin_are_read_with_it,
        reading::a_card_without_an_application_is_told_apart,
        signing::every_scheme_of_every_key,
        signing::a_card_that_pads_by_itself_signs_what_it_can,
        pins::a_wrong_pin_is_tried_once,
        pins::the_last_try_is_left_to_a_person,
        pins::a_blocked_pin_is_said_to_be_blocked,
        pins::a_card_that_does_not_count_aloud_is_asked_by_a_person_only,
        pins::nobody_finds_a_card_unlocked,
        files::broken_files_are_refused,
        files::what_is_missing_or_too_large_is_left_out,
        files::a_card_that_lies_is_not_believed,
        failing::a_card_that_is_pulled_gives_nothing,
        failing::a_swapped_card_is_another_card,
        failing::a_mute_card_keeps_nobody_waiting,
        failing::a_slow_card_has_its_time_and_no_more,
        service::two_cards_are_told_apart_wherever_they_are,
        service::a_reader_that_is_taken_is_used_afterwards,
        service::pcscd_may_end_and_come_back,
        service::pcscd_may_come_later,
        daemon::the_daemon_takes_nothing_of_a_card_that_fails,
    ];
    let trials = tests.into_iter().map(|(name, test)| {
        Trial::new(name, move || {
            test(name);
            Ok(String::new())
        })
    });
    runner::run(trials.collect())
}
