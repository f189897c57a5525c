//! Dialling, with a device on which names, addresses and interfaces are set.

use super::*;
use bailiwick_plugin::testing::Harness;

const HOST: &str = "dm.example";
const SIX: &str = "2001:db8::1";
const FOUR: &str = "192.0.2.1";

/// A device with WLAN and a modem, on which `HOST` has an address of each family.
fn phone() -> Harness {
    let harness = Harness::new();
    harness.add_interface("wlan0", Bearer::Wlan);
    harness.add_interface("wwan0", Bearer::Cellular);
    harness.add_host(HOST, &[FOUR, SIX]);
    harness
}

/// Candidates as text, and the stagger, of the only `connect`.
#[track_caller]
fn tried(harness: &Harness) -> (Vec<String>, u32) {
    let connects = harness.connects();
    let [(candidates, stagger_ms)] = connects.as_slice() else {
        panic!("one connect expected, not {}", connects.len())
    };
    let text = candidates.iter().map(|candidate| {
        let via = candidate
            .via
            .as_deref()
            .map(|via| format!("%{via}"))
            .unwrap_or_default();
        format!("{}{via} {}", candidate.address, candidate.port)
    });
    (text.collect(), *stagger_ms)
}

#[test]
fn tries_both_families_over_any_interface() {
    let harness = phone();
    harness.add_reachable(FOUR, None);
    let connection = harness
        .transport::<Tcp>()
        .dial(HOST, 443, Bearer::Unknown)
        .unwrap();
    assert_eq!(connection.stream.peer(), "192.0.2.1:443");
    assert_eq!(
        tried(&harness),
        (vec!["2001:db8::1 443".into(), "192.0.2.1 443".into()], 250)
    );
}

#[test]
fn a_preferred_bearer_goes_first_and_others_follow() {
    let harness = phone();
    harness.add_reachable(SIX, Some("wwan0"));
    let connection = harness
        .transport::<Tcp>()
        .dial(HOST, 443, Bearer::Cellular)
        .unwrap();
    let expected = [
        "2001:db8::1%wwan0 443",
        "192.0.2.1%wwan0 443",
        "2001:db8::1 443",
        "192.0.2.1 443",
    ];
    assert_eq!(tried(&harness).0, expected);
    // Which candidate won is the host's knowledge; with two kinds of interface the transport does not guess.
    assert_eq!(connection.bearer, Bearer::Unknown);
}

#[test]
fn a_strict_bearer_is_the_only_one() {
    let harness = phone();
    harness.set_config("strict-bearer", "true");
    harness.add_reachable(FOUR, Some("wlan0"));
    let mut tcp = harness.transport::<Tcp>();
    let connection = tcp.dial(HOST, 443, Bearer::Wlan).unwrap();
    assert_eq!(connection.bearer, Bearer::Wlan);
    assert_eq!(
        tried(&harness).0,
        ["2001:db8::1%wlan0 443", "192.0.2.1%wlan0 443"]
    );

    assert!(matches!(
        tcp.dial(HOST, 443, Bearer::Cellular),
        Err(Error::Unavailable(_))
    ));
    assert_eq!(
        tcp.dial(HOST, 443, Bearer::Wireline).map(|_| ()),
        Err(Error::unavailable(
            "no wireline interface is up and strict-bearer is set"
        ))
    );
}

#[test]
fn strict_without_a_preference_means_any() {
    let harness = phone();
    harness.set_config("strict-bearer", "true");
    harness.add_reachable(SIX, None);
    harness
        .transport::<Tcp>()
        .dial(HOST, 443, Bearer::Unknown)
        .unwrap();
    assert_eq!(tried(&harness).0, ["2001:db8::1 443", "192.0.2.1 443"]);
}

#[test]
fn a_preferred_bearer_that_is_down_is_no_obstacle() {
    let harness = phone();
    harness.add_reachable(SIX, None);
    harness
        .transport::<Tcp>()
        .dial(HOST, 443, Bearer::Wireline)
        .unwrap();
    assert_eq!(tried(&harness).0, ["2001:db8::1 443", "192.0.2.1 443"]);
}

#[test]
fn the_bearer_is_known_where_there_is_one_kind() {
    let harness = Harness::new();
    harness.add_interface("eth0", Bearer::Wireline);
    harness.add_interface("eth1", Bearer::Wireline);
    harness.add_reachable(FOUR, None);
    harness.add_reachable("127.0.0.1", None);
    let mut tcp = harness.transport::<Tcp>();
    let mut over = |host| {
        tcp.dial(host, 443, Bearer::Unknown)
            .map(|connection| connection.bearer)
    };
    assert_eq!(over(FOUR), Ok(Bearer::Wireline));
    assert_eq!(over("127.0.0.1"), Ok(Bearer::Unknown));
}

#[test]
fn loopback_works_without_any_interface() {
    let harness = Harness::new();
    harness.add_reachable("::1", None);
    let connection = harness
        .transport::<Tcp>()
        .dial("::1", 8443, Bearer::Unknown)
        .unwrap();
    assert_eq!(connection.stream.peer(), "[::1]:8443");
    assert_eq!(connection.bearer, Bearer::Unknown);
}

#[test]
fn failures_say_what_is_wrong() {
    let harness = phone();
    harness.add_host("empty.example", &[]);
    let mut tcp = harness.transport::<Tcp>();
    let mut dial = |host| tcp.dial(host, 443, Bearer::Unknown).map(|_| ());
    assert_eq!(dial("unknown.example"), Err(Error::NotFound));
    assert_eq!(
        dial("empty.example"),
        Err(Error::unavailable(
            "empty.example has no address; check the SrvURI of the account"
        ))
    );
    assert_eq!(dial(HOST), Err(Error::unavailable("no candidate answers")));
}

#[test]
fn bearers_are_those_of_the_interfaces_best_first() {
    let harness = phone();
    harness.add_interface("wlan1", Bearer::Wlan);
    harness.add_interface("eth0", Bearer::Wireline);
    harness.add_interface("tun0", Bearer::Unknown);
    let expected = [
        Bearer::Wireline,
        Bearer::Wlan,
        Bearer::Cellular,
        Bearer::Unknown,
    ];
    assert_eq!(harness.transport::<Tcp>().bearers(), Ok(expected.to_vec()));
    assert_eq!(Harness::new().transport::<Tcp>().bearers(), Ok(Vec::new()));
}

#[test]
fn settings_are_checked_at_the_start() {
    for (key, value, text) in [
        (
            "stagger-ms",
            "soon",
            "stagger-ms is `soon`; set a number from 10 to 10000",
        ),
        (
            "stagger-ms",
            "9",
            "stagger-ms is `9`; set a number from 10 to 10000",
        ),
        (
            "strict-bearer",
            "yes",
            "strict-bearer is `yes`; set true or false",
        ),
    ] {
        let harness = Harness::new();
        harness.set_config(key, value);
        let refused = harness.try_transport::<Tcp>().map(|_| ());
        assert_eq!(refused, Err(Error::invalid_argument(text)));
    }
    let harness = phone();
    harness.set_config("stagger-ms", "100");
    harness.add_reachable(SIX, None);
    harness
        .transport::<Tcp>()
        .dial(HOST, 443, Bearer::Unknown)
        .unwrap();
    assert_eq!(tried(&harness).1, 100);
}
