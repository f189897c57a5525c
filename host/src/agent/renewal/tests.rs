//! When identities are renewed.

use super::*;
use crate::certificates::testing::{Ca, validity};
use crate::certificates::{Purpose, Role};

/// 2026-01-01 and 2027-01-01.
const FROM: u64 = 1_767_225_600;
const UNTIL: u64 = 1_798_761_600;

fn shown(added: Option<u64>) -> Shown {
    let issued = Ca::new("CA").issue("device", |params| validity(params, 2026, 2027));
    let key = KeyRef::File("x.key".into());
    let credential = added.map(|added| Credential {
        authority: Authority::server("north"),
        id: Credential::id_of(&issued.chain_der[0]),
        role: Role::Identity { key: key.clone() },
        chain_der: issued.chain_der.clone(),
        purposes: [Purpose::Sessions].into(),
        origins: [Origin::Enrolment("https://north/".into())].into(),
        state: State::Active,
        added,
    });
    Shown {
        chain_der: issued.chain_der,
        key,
        credential,
    }
}

#[test]
fn renewal_begins_after_two_thirds_of_what_is_left_and_not_for_all_at_once() {
    let life = UNTIL - FROM;
    let mut found = BTreeSet::new();
    for _ in 0..16 {
        let shown = shown(None);
        let at = due(&shown).unwrap();
        assert_eq!(
            at,
            due(&shown).unwrap(),
            "always the same for one certificate"
        );
        let (from, until) = (FROM + life / 3 * 2, FROM + life / 4 * 3);
        assert!((from..=until).contains(&at), "{at}");
        found.insert(at);
    }
    assert!(found.len() > 8, "{found:?}");
    // What came late has its own two thirds: a short life that began in the past is not renewed at once, and again.
    let added = UNTIL - 3_600;
    let at = due(&shown(Some(added))).unwrap();
    assert!((added + 2_400..=added + 2_700).contains(&at), "{at}");
    let nothing = Shown {
        chain_der: Vec::new(),
        ..shown(None)
    };
    due(&nothing).unwrap_err();
}
