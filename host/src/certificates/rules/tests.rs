//! Real handshakes with servers that an authority's rules are about.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, KeyUsagePurpose, NameConstraints,
    SerialNumber,
};
use rustls::version::{TLS12, TLS13};
use tokio::net::TcpStream;

use super::super::describe;
use super::super::testing::{Ca, Issued, serve, validity};
use super::super::{CertificateError, Trust, connect};
use super::*;
use crate::authority::Authority;

/// What becomes of a handshake with a server that presents `issued`, in words; empty: it is believed.
async fn judged(anchors: &[Vec<u8>], rules: &Rules, issued: &Issued) -> String {
    let authority = Authority::server("north");
    let trust = match Trust::by_rules(authority, anchors, rules, None) {
        Ok(trust) => trust,
        Err(error) => return error.to_string(),
    };
    let mut outcome = None;
    for versions in [&[&TLS13][..], &[&TLS12][..]] {
        let address = serve(issued, None, versions).await;
        let stream = TcpStream::connect(address).await.unwrap();
        let connected = connect(stream, "dm.example", &trust, Duration::from_secs(10)).await;
        let told = connected.err().map(|e| e.to_string()).unwrap_or_default();
        let before = outcome.replace(told.clone());
        assert!(before.is_none_or(|before| before == told), "both versions");
    }
    outcome.unwrap()
}

fn numbered(ca: &Ca, serial: u64) -> Issued {
    ca.issue("dm.example", |params| {
        params.serial_number = Some(SerialNumber::from(serial));
    })
}

fn lists(crls_der: Vec<Vec<u8>>) -> Rules {
    Rules {
        crls_der,
        ..Rules::default()
    }
}

#[tokio::test]
async fn an_authority_that_publishes_revocation_lists_is_judged_by_them() {
    let (ca, other) = (Ca::new("CA"), Ca::new("other"));
    let (good, revoked) = (numbered(&ca, 5), numbered(&ca, 7));
    let holds = ca.crl(&[7], 2026, 2090);
    let anchors = [ca.der()];
    let rows: [(Vec<Vec<u8>>, &Issued, &str); 7] = [
        (vec![], &revoked, ""),
        (vec![holds.clone()], &good, ""),
        (vec![holds.clone()], &revoked, "was revoked"),
        (vec![ca.crl(&[], 2020, 2021)], &good, "the list has expired"),
        (vec![ca.crl(&[7], 2020, 2021)], &revoked, "revo"),
        // Of somebody else, even under the same name: it covers nothing.
        (
            vec![other.crl(&[], 2026, 2090)],
            &good,
            "no list of its issuer",
        ),
        (
            vec![Ca::new("CA").crl(&[], 2026, 2090)],
            &good,
            "the list is not signed by it",
        ),
    ];
    for (crls, server, expected) in rows {
        let told = judged(&anchors, &lists(crls), server).await;
        assert!(
            told.contains(expected) && told.is_empty() == expected.is_empty(),
            "{told} instead of {expected}"
        );
    }
}

#[tokio::test]
async fn a_list_for_the_leaf_alone_does_not_cover_what_issued_it() {
    let root = Ca::new("root");
    let middle = root.intermediate("middle");
    let mut server = numbered(&middle, 5);
    server.chain_der.push(middle.der());
    let (leafs, middles) = (middle.crl(&[], 2026, 2090), root.crl(&[], 2026, 2090));
    let anchors = [root.der()];
    let told = judged(&anchors, &lists(vec![leafs.clone()]), &server).await;
    assert!(told.contains("no list of its issuer"), "{told}");
    assert_eq!(
        judged(&anchors, &lists(vec![leafs, middles]), &server).await,
        ""
    );
}

#[tokio::test]
async fn lists_that_cannot_be_used_are_refused_before_any_connection() {
    let ca = Ca::new("CA");
    let server = ca.server("dm.example");
    for (crls, expected) in [
        (
            vec![b"no list".to_vec()],
            "revocation list 0 cannot be used",
        ),
        (vec![vec![0x30; MAX_CRL_BYTES + 1]], "at most 1048576 bytes"),
        (vec![ca.crl(&[], 2026, 2090); MAX_CRLS + 1], "too many"),
    ] {
        let told = judged(&[ca.der()], &lists(crls), &server).await;
        assert!(told.contains(expected), "{told}");
    }
}

#[tokio::test]
async fn a_server_has_one_of_the_keys_that_the_account_names() {
    let ca = Ca::new("CA");
    let (server, backup, stranger) = (
        ca.server("dm.example"),
        ca.server("dm.example"),
        ca.server("dm.example"),
    );
    let pin = |issued: &Issued| -> [u8; 32] {
        let (spki, _) = describe::public_key(&issued.chain_der[0]).unwrap();
        digest(&SHA256, &spki).as_ref().try_into().unwrap()
    };
    let pinned = |pins: Vec<[u8; 32]>| Rules {
        pins,
        ..Rules::default()
    };
    let anchors = [ca.der()];
    let both = pinned(vec![pin(&server), pin(&backup)]);
    assert_eq!(judged(&anchors, &both, &server).await, "");
    assert_eq!(judged(&anchors, &both, &backup).await, "");
    let told = judged(&anchors, &both, &stranger).await;
    assert!(
        told.contains("has a key that the account does not name"),
        "{told}"
    );
    // The pin of a certificate that is sent along, and is not the server's own, is worth nothing.
    let mut with_bait = Issued {
        chain_der: stranger.chain_der.clone(),
        key_der: stranger.key_der.clone(),
        key_pem: String::new(),
        certificate_pem: String::new(),
    };
    with_bait.chain_der.push(server.chain_der[0].clone());
    let told = judged(&anchors, &both, &with_bait).await;
    assert!(told.contains("does not name"), "{told}");
    // A single pin, even twice, locks the device out with the first lost key.
    for pins in [vec![pin(&server)], vec![pin(&server); 2]] {
        let told = judged(&anchors, &pinned(pins), &server).await;
        assert!(told.contains("1 keys in Ext/Pin"), "{told}");
    }
    let told = judged(
        &anchors,
        &pinned((0..17).map(|n| [n; 32]).collect()),
        &server,
    )
    .await;
    assert!(told.contains("2 to 16"), "{told}");
}

#[tokio::test]
async fn a_clock_that_was_set_back_does_not_revive_what_has_expired() {
    let ca = Ca::new("CA");
    let server = ca.issue("dm.example", |params| validity(params, 2020, 2080));
    let rules = |floor| Rules {
        clock: Clock::at_least(floor),
        ..Rules::default()
    };
    let anchors = [ca.der()];
    assert_eq!(judged(&anchors, &rules(0), &server).await, "");
    // 2085: for this clock the system's is set back.
    let told = judged(&anchors, &rules(3_629_000_000), &server).await;
    assert!(told.contains("has expired"), "{told}");
}

#[tokio::test]
async fn what_was_found_valid_raises_the_floor_of_the_clock() {
    let ca = Ca::new("CA");
    let clock = Clock::at_least(0);
    let began = i64::try_from(clock.now()).unwrap() - 60;
    clock.passed(began - 60);
    let server = ca.issue("dm.example", |params| {
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(began as u64);
    });
    let rules = Rules {
        clock: clock.clone(),
        ..Rules::default()
    };
    // Not by somebody else's certificate.
    judged(&[Ca::new("CA").der()], &rules, &server).await;
    assert_eq!(clock.floor(), (began - 60) as u64);
    assert_eq!(judged(&[ca.der()], &rules, &server).await, "");
    assert_eq!(clock.floor(), began as u64);
}

#[tokio::test]
async fn names_and_uses_that_an_issuer_excludes_are_refused() {
    let within = |name: &str| {
        Ca::with("CA", |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(name.into())],
                excluded_subtrees: Vec::new(),
            });
        })
    };
    type Row = (Ca, fn(&mut CertificateParams), &'static str);
    let rows: [Row; 4] = [
        (within("example"), |_| {}, ""),
        (within("elsewhere"), |_| {}, "not acceptable"),
        (
            Ca::new("CA"),
            |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            "not acceptable",
        ),
        (
            Ca::new("CA"),
            |params| params.key_usages = vec![KeyUsagePurpose::DigitalSignature],
            "",
        ),
    ];
    for (ca, change, expected) in rows {
        let server = ca.issue("dm.example", change);
        let told = judged(&[ca.der()], &Rules::default(), &server).await;
        assert!(
            told.contains(expected) && told.is_empty() == expected.is_empty(),
            "{told} instead of {expected}"
        );
    }
}

#[test]
fn a_fetched_list_is_signed_by_an_anchor_and_holds() {
    let (ca, other) = (Ca::new("CA"), Ca::new("CA"));
    let (ours, theirs) = (ca.der(), other.der());
    let clock = Clock::default();
    let list = ca.crl(&[7], 2026, 2090);
    let read = Crl::verified(&list, &[&theirs, &ours], &clock).unwrap();
    assert_eq!(read.next_update, 3_786_912_000);
    let refused = |der: &[u8], issuers: &[&[u8]]| {
        let refused: CertificateError = Crl::verified(der, issuers, &clock).unwrap_err();
        refused.to_string()
    };
    assert!(refused(&list, &[&theirs]).contains("no anchor"));
    assert!(refused(&list, &[]).contains("no anchor"));
    assert!(refused(&ca.crl(&[], 2020, 2021), &[&ours]).contains("does not hold"));
    assert!(refused(&ca.crl(&[], 2080, 2090), &[&ours]).contains("does not hold"));
    assert!(refused(b"?", &[&ours]).contains("not a revocation list"));
    assert!(refused(&[&list[..], b"?"].concat(), &[&ours]).contains("follows"));
}
