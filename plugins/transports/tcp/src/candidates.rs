//! The order in which addresses are tried (RFC 8305 §4), and over which interfaces.

use bailiwick_plugin::net::Candidate;
use std::net::{IpAddr, SocketAddr};

/// Puts the families in turn, IPv6 first; within a family the order stays the resolver's. What is no address is left out.
pub(crate) fn interleave(resolved: &[String]) -> Vec<IpAddr> {
    let addresses = resolved
        .iter()
        .filter_map(|text| text.parse::<IpAddr>().ok());
    let (six, four): (Vec<_>, Vec<_>) = addresses.partition(IpAddr::is_ipv6);
    let both = six.len().min(four.len());
    let (six_rest, four_rest) = (&six[both..], &four[both..]);
    let pairs = six.iter().zip(&four).flat_map(|(&six, &four)| [six, four]);
    pairs
        .chain(six_rest.iter().copied())
        .chain(four_rest.iter().copied())
        .collect()
}

/// Every address over each of the interfaces `first`, then, if `anywhere`, over whichever the system routes it by.
pub(crate) fn list(
    addresses: &[IpAddr],
    port: u16,
    first: &[String],
    anywhere: bool,
) -> Vec<Candidate> {
    let candidate = |address: &IpAddr, via: Option<String>| Candidate {
        address: address.to_string(),
        port,
        via,
    };
    let over_first = addresses.iter().flat_map(|address| {
        first
            .iter()
            .map(move |interface| candidate(address, Some(interface.clone())))
    });
    let routed = addresses
        .iter()
        .filter(|_| anywhere)
        .map(|address| candidate(address, None));
    over_first.chain(routed).collect()
}

/// Whether an address with port belongs to this device itself.
pub(crate) fn is_loopback(peer: &str) -> bool {
    peer.parse::<SocketAddr>()
        .is_ok_and(|peer| peer.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(resolved: &[&str], expected: &[&str]) {
        let resolved: Vec<String> = resolved.iter().map(|&text| text.into()).collect();
        let order: Vec<String> = interleave(&resolved)
            .iter()
            .map(IpAddr::to_string)
            .collect();
        assert_eq!(order, expected);
    }

    #[test]
    fn families_take_turns_and_ipv6_begins() {
        check(&[], &[]);
        check(&["192.0.2.1"], &["192.0.2.1"]);
        check(&["192.0.2.1", "2001:db8::1"], &["2001:db8::1", "192.0.2.1"]);
        check(
            &["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.3"],
            &["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"],
        );
        check(
            &["2001:db8::2", "2001:db8::1", "2001:db8::3", "192.0.2.1"],
            &["2001:db8::2", "192.0.2.1", "2001:db8::1", "2001:db8::3"],
        );
    }

    #[test]
    fn what_is_no_address_is_left_out() {
        check(&["dm.example", "192.0.2.1", ""], &["192.0.2.1"]);
    }

    #[test]
    fn loopback_is_recognised_in_every_form() {
        for peer in [
            "127.0.0.1:443",
            "127.8.0.1:1",
            "[::1]:443",
            "[::ffff:127.0.0.1]:443",
        ] {
            assert!(is_loopback(peer), "{peer}");
        }
        for peer in ["192.0.2.1:443", "[2001:db8::1]:443", "localhost:443", ""] {
            assert!(!is_loopback(peer), "{peer}");
        }
    }
}
