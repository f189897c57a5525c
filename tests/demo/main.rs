//! `cargo xtask demo card`: an empty device becomes manageable because a card is inserted, and stops being so when the card
//! is pulled.
//!
//! Nothing is simulated but the plastic: pcscd runs with a virtual reader, the card is Debian's card operating system with a
//! key of its own, the authority serves on the loopback interface, and what is printed is what the daemon says.

mod authority;
mod device;
mod tell;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use bailiwick_tests::card::{Card, CardBed, Content, Key, Root};

use authority::{METER, North};
use device::Device;
use tell::{say, title};

/// The PIN of the card.
const PIN: &str = "1234";

fn main() -> ExitCode {
    if let Err(why) = CardBed::is_possible() {
        eprintln!("The story needs a virtual card reader: {why}");
        return ExitCode::FAILURE;
    }
    match story() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe story broke off: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn story() -> Result<()> {
    let Some(mut bed) = CardBed::start("demo card") else {
        return Ok(());
    };
    let directory = bailiwick_tests::scratch("card-story")?;
    let north = North::start(&directory)?;
    let key = Key::Ec.generate();
    // Whatever root the bed would choose is replaced by the authority's.
    let content = Content::with_key(&Root::new("nobody"), &key)
        .with("own.der", &north.certify(&key)?)
        .with("trusted-root.der", &north.root()?)
        .with("bootstrap", &north.account()?);
    let card = Card::pkcs15(&content).option("serial", "89441000300012");
    let device = Device::start(&directory, &bed, PIN)?;

    title("An empty device");
    say(
        "It has plug-ins, a card reader, and one line of policy: whoever holds a certificate of North's CA speaks for North. It \
         knows no authority, no server and no key.",
    );
    device.show(&["status"])?;

    title("The card is inserted");
    say(
        "North has put on it: its CA, as a certificate that the card's holder cannot change; a certificate for the card's own \
         key, which never leaves it; and an account without any secret in it.",
    );
    north.queue_meter()?;
    bed.insert(0, &card);
    device.wait_for_session("north")?;
    device.show(&["cards"])?;
    say(
        "The card was asked to sign a fresh challenge, and its certificate chains to the CA that the policy names. So its \
         contents became, in one transaction:",
    );
    device.show(&["certs"])?;
    device.show(&["certs", "log"])?;

    title("A session follows by itself");
    say(
        "The device reports to the server that the card names, over mutual TLS. The handshake was signed on the card.",
    );
    for line in north.seen()? {
        say(&line);
    }
    device.show(&["session", "north"])?;

    title("A local application is let in by its certificate");
    say(
        "North gives the application with the subject CN=meter-reader the right to read its meter, in a session like any \
         other. The device has no list of applications: the certificate is what lets one in.",
    );
    let meter = north.meter()?;
    north.queue_grant(&meter, "CN=meter-reader")?;
    device.run(&["session", "north"])?;
    let reader = north.application(&directory, "meter-reader")?;
    let toaster = north.application(&directory, "toaster")?;
    let stranger = North::stranger(&directory)?;
    let read = format!("{METER}/{meter}/");
    ensure!(
        device.app(&reader, &["get", &read])? == 0,
        "the meter reader was refused"
    );
    say(
        "The same certificate does not let it write, another application of North's reads nothing, and a stranger's \
         certificate is not even heard:",
    );
    let write = ["put", &read, "{\"Level\":9}"];
    for (who, wants) in [
        (&reader, &write[..]),
        (&toaster, &["get", &read]),
        (&stranger, &["get", &read]),
    ] {
        ensure!(
            device.app(who, wants)? == 4,
            "somebody was let in who must not be"
        );
    }

    title("The card is pulled");
    bed.pull(0);
    device.wait_until("the account to rest", |status| {
        status
            .pointer("/accounts/0/suspended")
            .is_some_and(|why| !why.is_null())
    })?;
    device.show(&["status"])?;
    say("Nothing that came from the card counts any more: no session, and no application.");
    ensure!(
        device.show_refused(&["session", "north"])?,
        "a session was held without the card"
    );
    ensure!(
        device.app(&reader, &["get", &read])? == 4,
        "an application was let in without the card"
    );

    title("And comes back");
    bed.insert(0, &card);
    device.wait_until("the account to count again", |status| {
        status
            .pointer("/accounts/0/suspended")
            .is_none_or(|why| why.is_null())
    })?;
    say("The same card gives the same plan, so nothing is new; what rested counts again.");
    device.show(&["certs", "log"])?;
    device.run(&["session", "north"])?;
    ensure!(
        device.app(&reader, &["get", &read])? == 0,
        "the meter reader was refused"
    );
    device.stop()?;
    title("The end");
    say("No key, no secret and no name of a server was ever entered on this device.");
    std::fs::remove_dir_all(directory)?;
    Ok(())
}
