//! What a card may give, and what it may not, whatever it contains.

use super::super::testing::{Bench, Card, NOW, account, after, north, of, south, souths_card};
use super::*;
use crate::certificates::testing::Ca;
use crate::keys::CardKind;

fn plan_of(card: &Card, policy: &Policy, there: &There) -> Plan {
    plan(&card.contents, &card.proofs, policy, there, NOW)
}

/// `change what`, in order.
fn told(plan: &Plan) -> Vec<String> {
    let shown = plan.steps().map(Step::shown);
    shown
        .map(|shown| format!("{} {}", shown.change, shown.what))
        .collect()
}

#[test]
fn a_card_gives_anchors_an_identity_and_an_account() {
    let bench = Bench::new();
    let (card, there) = (bench.card(), bench.there());
    let made = plan_of(&card, &bench.policy(), &there);
    assert_eq!(
        told(&made),
        [
            "added account",
            "added anchor",
            "added anchor",
            "added identity"
        ]
    );
    assert!(made.lines[0].refusals.is_empty() && made.lines[0].unbound.is_none());

    let then = after(there, made.steps());
    let again = plan_of(&card, &bench.policy(), &then);
    assert_eq!(
        told(&again),
        Vec::<String>::new(),
        "a plan that was carried out is empty"
    );
}

#[test]
fn an_identity_comes_with_what_completes_its_chain() {
    let bench = Bench::new();
    let middle = bench.card_ca.intermediate("middle");
    let stranger = Ca::new("stranger").intermediate("middle");
    let mut card = Card::empty("1");
    card.certificate(Shelf::Trusted, "01", bench.card_ca.der());
    card.certificate(Shelf::Useful, "02", stranger.der());
    card.certificate(Shelf::Useful, "03", middle.der());
    card.identity("45", &middle.client("device"));
    let made = plan_of(&card, &bench.policy(), &There::default());
    assert_eq!(
        told(&made),
        ["added anchor", "added intermediate", "added identity"]
    );
    let refused = &made.lines[0].refusals;
    assert!(
        refused[0].reason.contains("no anchor of the authority"),
        "{refused:?}"
    );
    let identity = made.steps().last().unwrap();
    let Step::Credential {
        after: Some(identity),
        ..
    } = identity
    else {
        panic!("no identity")
    };
    assert_eq!(identity.chain_der[1..], [middle.der()]);
}

#[test]
fn what_the_card_has_no_more_goes_or_rests() {
    let bench = Bench::new();
    let card = bench.card();
    let policy = |on_removal| {
        Policy::of(vec![Line {
            on_removal,
            ..bench.line()
        }])
    };
    let there = after(
        bench.there(),
        plan_of(&card, &bench.policy(), &bench.there()).steps(),
    );

    let mut less = card.clone();
    less.contents.objects.clear();
    less.contents.certificates.remove(0);
    for (on_removal, account) in [
        (OnRemoval::Suspend, "rests account"),
        (OnRemoval::Remove, "removed account"),
    ] {
        let made = plan_of(&less, &policy(on_removal), &there);
        assert_eq!(told(&made), [account, "removed anchor"]);
        let then = after(there.clone(), made.steps());
        let again = plan_of(&less, &policy(on_removal), &then);
        assert_eq!(told(&again), Vec::<String>::new());
        let back = plan_of(&card, &policy(on_removal), &then);
        assert_eq!(told(&back).len(), 2, "{:?}", told(&back));
    }
    // What could not be read may be what is missing.
    less.contents.skipped.push("EF 4331: file not found".into());
    let made = plan_of(&less, &policy(OnRemoval::Remove), &there);
    assert_eq!(told(&made), ["rests account", "rests anchor"]);
    // Damaged is not gone.
    let mut damaged = card.clone();
    damaged.contents.objects[0].bytes = b"?".to_vec();
    let made = plan_of(&damaged, &policy(OnRemoval::Remove), &there);
    assert_eq!(told(&made), Vec::<String>::new());
}

#[test]
fn what_others_gave_too_stays_theirs() {
    let bench = Bench::new();
    let card = bench.card();
    let mut there = There::default();
    let offer = Offer {
        authority: north(),
        role: Role::Anchor,
        chain_der: vec![bench.north_ca.der()],
        purposes: [Purpose::Applications].into(),
        origin: Origin::Session,
    };
    let theirs = with(None, offer, NOW - 5).unwrap();
    there.credentials.push(theirs.clone());
    let made = plan_of(&card, &bench.policy(), &there);
    assert!(
        told(&made).contains(&"given too anchor".to_owned()),
        "{:?}",
        told(&made)
    );
    let then = after(there, made.steps());
    let both = then.credentials.iter().find(|c| c.id == theirs.id).unwrap();
    assert_eq!((both.origins.len(), both.added), (2, theirs.added));

    let mut less = card.clone();
    less.contents.certificates.remove(0);
    let made = plan_of(&less, &bench.policy(), &then);
    assert_eq!(told(&made), ["taken back anchor"]);
    let then = after(then, made.steps());
    let left = then.credentials.iter().find(|c| c.id == theirs.id).unwrap();
    assert_eq!(
        (&left.origins, &left.state),
        (&theirs.origins, &State::Active)
    );
}

#[test]
fn a_key_that_does_not_sign_gives_nothing_and_takes_nothing() {
    let bench = Bench::new();
    let mut card = bench.card();
    let line = Line {
        issuer: None,
        serial: Some(card.contents.card.serial.clone()),
        ..bench.line()
    };
    let policy = Policy::of(vec![line]);
    let there = after(
        There::default(),
        plan_of(&card, &policy, &There::default()).steps(),
    );
    card.proofs = Proofs::default();
    card.proofs.fail(
        &card.contents.certificates[2].der,
        "the key needs the PIN".into(),
    );
    let made = plan_of(&card, &policy, &there);
    assert_eq!(
        told(&made),
        ["rests identity"],
        "it is on the card, and of no use now"
    );
    assert!(made.lines[0].refusals[0].reason.contains("needs the PIN"));
    let by_issuer = plan_of(&card, &bench.policy(), &there);
    assert_eq!(told(&by_issuer), Vec::<String>::new());
    let why = by_issuer.lines[0].unbound.as_deref().unwrap();
    assert!(why.contains("needs the PIN"), "{why}");
}

/// What is tried: the card, and the lines of the policy besides the one that binds it to north.
struct Attempt {
    card: Card,
    policy: Vec<Line>,
    there: There,
}

type Row = (&'static str, fn(&Bench, &mut Attempt), &'static str);

fn souths_line(bench: &Bench) -> Line {
    Line {
        number: 2,
        authority: south(),
        issuer: Some(bench.south_ca.der()),
        ..bench.line()
    }
}

fn only_document(attempt: &mut Attempt, accounts: &[bailiwick_protocol::Account]) {
    attempt.card.contents.objects.clear();
    attempt.card.document(accounts, Vec::new());
}

/// Attempts of a card that is bound to north, or claims to be. Each names what refuses it; none changes anything of
/// south's.
const ATTEMPTS: &[Row] = &[
    (
        "an account for south",
        |_, attempt| only_document(attempt, &[account("south")]),
        "speaks for north alone",
    ),
    (
        "an account for south beside north's own, in one document",
        |_, attempt| only_document(attempt, &[account("north"), account("south")]),
        "accounts for north, south",
    ),
    (
        "an account for south in another spelling",
        |_, attempt| only_document(attempt, &[account("South")]),
        "speaks for north alone",
    ),
    (
        "south, and an invisible character",
        |_, attempt| only_document(attempt, &[account("south\u{200b}")]),
        "speaks for north alone",
    ),
    (
        "south, and a blank",
        |_, attempt| only_document(attempt, &[account("south ")]),
        "speaks for north alone",
    ),
    (
        "north, written in Cyrillic",
        |_, attempt| only_document(attempt, &[account("n\u{43e}rth")]),
        "speaks for north alone",
    ),
    (
        "an account for the operator",
        |_, attempt| only_document(attempt, &[account("local:operator")]),
        "speaks for north alone",
    ),
    (
        "an account for everybody",
        |_, attempt| only_document(attempt, &[account("*")]),
        "speaks for north alone",
    ),
    (
        "south in the form in which the device writes some names",
        |_, attempt| only_document(attempt, &[account("server:south")]),
        "speaks for north alone",
    ),
    (
        "an account for south in a second object",
        |_, attempt| attempt.card.document(&[account("south")], Vec::new()),
        "speaks for north alone",
    ),
    (
        "a second account for north, hidden behind the first",
        |_, attempt| {
            let mut second = account("north");
            second.srv_uri = "https://rogue.example/".into();
            attempt.card.document(&[second], Vec::new());
        },
        "given this account already",
    ),
    (
        "types beyond any account, by a wildcard",
        |_, attempt| {
            let mut all = account("north");
            all.permitted_moids = vec!["urn:oma:mo:*".into()];
            only_document(attempt, &[all]);
        },
        "each MOID in full",
    ),
    (
        "a server that is not protected",
        |_, attempt| {
            let mut plain = account("north");
            plain.srv_uri = "http://dm.example/".into();
            only_document(attempt, &[plain]);
        },
        "must be https",
    ),
    (
        "a document without end",
        |_, attempt| {
            let bytes = vec![b'['; 40_000];
            attempt.card.contents.objects.clear();
            attempt.card.object(DM_BOOTSTRAP, bytes);
        },
        "at most 32768",
    ),
    (
        "an account in an object of another kind",
        |_, attempt| {
            attempt.card.contents.objects[0].oid = "2.23.43.9.1".into();
        },
        "is not used",
    ),
    (
        "south's CA among ordinary certificates, with authority TRUE",
        |bench, attempt| {
            attempt
                .card
                .certificate(Shelf::Own, "99", bench.south_ca.der());
        },
        "only trustedCertificates are",
    ),
    (
        "south's CA among the useful ones",
        |bench, attempt| {
            attempt
                .card
                .certificate(Shelf::Useful, "99", bench.south_ca.der());
        },
        "no anchor of the authority",
    ),
    (
        "an end entity as an anchor",
        |bench, attempt| {
            let server = bench
                .south_ca
                .server("dm.south.example")
                .chain_der
                .remove(0);
            attempt.card.certificate(Shelf::Trusted, "99", server);
        },
        "not the certificate of a CA",
    ),
    (
        "south's client certificate, without its key",
        |bench, attempt| {
            let theirs = bench.south_ca.client("device").chain_der.remove(0);
            attempt.card.certificate(Shelf::Own, "99", theirs);
        },
        "no private key on the card",
    ),
    (
        "south's client certificate beside a key of the card's own",
        |bench, attempt| {
            let theirs = bench.south_ca.client("device").chain_der.remove(0);
            attempt.card.certificate(Shelf::Own, "45", theirs);
        },
        "no private key on the card",
    ),
    (
        "an identity that south's CA has issued, with its key",
        |bench, attempt| {
            let theirs = bench.south_ca.client("device");
            attempt.card.identity("99", &theirs);
        },
        "does not chain to an anchor",
    ),
    (
        "a CA as the device's identity",
        |bench, attempt| {
            let ca = bench.card_ca.intermediate("rogue");
            attempt.card.certificate(Shelf::Own, "99", ca.der());
            let key = attempt.card.key("99");
            attempt.card.proofs.add(&ca.der(), key);
        },
        "no CA is the identity",
    ),
    (
        "anchors without end",
        |_, attempt| {
            for number in 0..40 {
                let ca = Ca::new(&format!("CA {number}")).der();
                attempt.card.certificate(Shelf::Trusted, "99", ca);
            }
        },
        "more than 16",
    ),
    (
        "south's serial number, where a line binds south by issuer and serial number",
        |bench, attempt| {
            attempt.card.contents.card = souths_card();
            attempt.policy.push(Line {
                serial: Some(souths_card().serial),
                ..souths_line(bench)
            });
        },
        "not from the CA that the line names",
    ),
    (
        "south's pinned certificate, which is no secret, with another key",
        |bench, attempt| {
            let theirs = bench.south_ca.client("card").chain_der.remove(0);
            attempt.policy.push(Line {
                issuer: None,
                certificate: Some(fingerprint(&theirs)),
                ..souths_line(bench)
            });
            attempt.card.certificate(Shelf::Own, "45", theirs);
        },
        "no private key on the card",
    ),
    (
        "another certificate than the pinned one",
        |bench, attempt| {
            attempt.policy.push(Line {
                issuer: None,
                certificate: Some("00".repeat(32)),
                ..souths_line(bench)
            });
        },
        "that the line names is not on the card",
    ),
    (
        "a CA of its own with the name of the one that south's line names",
        |bench, attempt| {
            attempt.policy.push(souths_line(bench));
            let forged = Ca::new("South CA");
            attempt.card.certificate(Shelf::Useful, "98", forged.der());
            attempt.card.identity("99", &forged.client("device"));
        },
        "not from the CA that the line names",
    ),
    (
        "south's card was pulled; this one has copies of its certificates",
        |bench, attempt| {
            attempt.policy.push(souths_line(bench));
            attempt.card.contents.card = souths_card();
            let theirs = bench.south_ca.client("card").chain_der.remove(0);
            attempt.card.certificate(Shelf::Own, "99", theirs);
            attempt.there.present.clear();
            for credential in &mut attempt.there.credentials {
                credential.state = State::Suspended;
            }
        },
        "no private key on the card",
    ),
    (
        "a certificate of south's issuer that has expired",
        |bench, attempt| {
            attempt.policy.push(souths_line(bench));
            let old = bench.south_ca.issue("device", |params| {
                crate::certificates::testing::validity(params, 2020, 2021);
            });
            attempt.card.identity("99", &old);
        },
        "has expired",
    ),
    (
        "other contents for the account that north has from a document",
        |_, attempt| {
            let mut theirs = attempt.there.accounts[0].clone();
            theirs.0.authority = north();
            attempt.there.accounts.push(theirs);
        },
        "which a card does not change",
    ),
    (
        "other contents for the account that another card gave",
        |_, attempt| {
            let mut theirs = attempt.there.accounts[0].clone();
            theirs.0.authority = north();
            theirs.0.origin = Origin::Card {
                card: CardId {
                    kind: CardKind::Piv,
                    serial: attempt.card.contents.card.serial.clone(),
                },
                path: "3F00".into(),
            };
            attempt.there.accounts.push(theirs);
        },
        "which a card does not change",
    ),
    (
        "an account by a line that is not for sessions",
        |_, attempt| attempt.policy[0].purposes = [Purpose::Applications].into(),
        "not for sessions",
    ),
];

#[test]
fn whatever_a_card_contains_it_changes_nothing_of_another_authority() {
    let bench = Bench::new();
    assert!(ATTEMPTS.len() >= 20);
    for (name, prepare, expected) in ATTEMPTS {
        let mut attempt = Attempt {
            card: bench.card(),
            policy: vec![bench.line()],
            there: bench.there(),
        };
        prepare(&bench, &mut attempt);
        let Attempt {
            card,
            policy,
            there,
        } = attempt;
        let made = plan_of(&card, &Policy::of(policy), &there);

        let refusals = made.lines.iter().flat_map(|line| &line.refusals);
        let unbound = made.lines.iter().filter_map(|line| line.unbound.clone());
        let why: Vec<String> = refusals
            .map(|refusal| refusal.reason.clone())
            .chain(unbound)
            .collect();
        assert!(
            why.iter().any(|reason| reason.contains(expected)),
            "{name}: {expected:?} is not among {why:?}"
        );
        for step in made.steps() {
            assert_eq!(
                step.authority(),
                Some(&north()),
                "{name}: {:?}",
                step.shown()
            );
        }
        let then = after(there.clone(), made.steps());
        let (before, then) = (of(&there, &south()), of(&then, &south()));
        assert_eq!(before.accounts, then.accounts, "{name}");
        assert_eq!(before.credentials, then.credentials, "{name}");
        for line in made.lines {
            if line.authority == south() {
                assert!(line.unbound.is_some(), "{name}");
            }
            if let Some((account, _)) = there.accounts.iter().find(|(a, _)| a.authority == north())
            {
                let changed = line
                    .steps
                    .iter()
                    .any(|step| !matches!(step, Step::Credential { .. }));
                assert!(!changed, "{name}: {account:?}");
            }
        }
    }
}

#[test]
fn a_card_that_two_lines_bind_gives_each_its_own() {
    let bench = Bench::new();
    let mut card = bench.card();
    card.identity("46", &bench.south_ca.client("device"));
    card.document(&[account("south")], Vec::new());
    let again = Line {
        number: 3,
        ..bench.line()
    };
    let policy = Policy::of(vec![bench.line(), souths_line(&bench), again]);
    let made = plan_of(&card, &policy, &There::default());
    for (line, authority) in made.lines.iter().zip([north(), south()]) {
        assert_eq!(line.unbound, None);
        assert!(
            line.steps
                .iter()
                .all(|step| step.authority() == Some(&authority))
        );
        let accounts = line
            .steps
            .iter()
            .filter(|s| matches!(s, Step::Account { .. }));
        assert_eq!(accounts.count(), 1);
        assert!(
            line.refusals
                .iter()
                .all(|refusal| !refusal.what.contains("object"))
        );
    }
    let why = made.lines[2].unbound.as_deref().unwrap();
    assert!(why.contains("an earlier line"), "{why}");
}
