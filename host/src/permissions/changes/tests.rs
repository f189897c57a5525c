//! Granting, revoking and succession, by table.

use super::*;
use crate::permissions::policy::Policy;
use std::collections::BTreeSet;

fn who(name: &str) -> Authority {
    match name {
        "device" => Authority::device(),
        "operator" => Authority::operator(),
        "app" => Authority::local("app"),
        server => Authority::server(server),
    }
}

/// `granter>receiver bits [until] [priority]`
fn parse(text: &str) -> Grant {
    let words: Vec<&str> = text.split(' ').collect();
    let (granted_by, to) = words[0].split_once('>').unwrap();
    Grant {
        to: who(to),
        granted_by: who(granted_by),
        rights: Rights::from_bits(words[1].parse().unwrap()).unwrap(),
        not_after: words.get(2).and_then(|until| until.parse().ok()),
        priority: words.get(3).map_or(0, |priority| priority.parse().unwrap()),
    }
}

fn record(owner: &str, grants: &[&str]) -> InstanceRecord {
    let grants = grants.iter().map(|grant| parse(grant)).collect();
    InstanceRecord {
        owner: who(owner),
        plugin: "test".to_owned(),
        grants,
    }
}

/// Lets `change` work on an instance of `owner` with these grants, at time 10, where all may manage the type.
fn change<T>(grants: &[&str], change: impl FnOnce(&Scene<'_>) -> T) -> T {
    at(
        10,
        &["owner", "a", "b", "c", "app", "operator", "device"],
        grants,
        change,
    )
}

fn at<T>(now: u64, permitted: &[&str], grants: &[&str], change: impl FnOnce(&Scene<'_>) -> T) -> T {
    let permitted: BTreeSet<Authority> = permitted.iter().map(|name| who(name)).collect();
    let (record, policy) = (record("owner", grants), Policy::default());
    let (record, policy, permitted) = (&record, &policy, &permitted);
    change(&Scene {
        record,
        moid: "urn:x",
        policy,
        permitted,
        now,
    })
}

#[track_caller]
fn same(found: &[Grant], expected: &[&str]) {
    let expected: Vec<Grant> = expected.iter().map(|grant| parse(grant)).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_may_be_granted() {
    let rows: [(&[&str], &str, &[&str]); 8] = [
        (&[], "owner>a 15", &["owner>a 15"]),
        (&[], "operator>a 15 20 -7", &["operator>a 15 20 -7"]),
        // Up to the very limits of its own.
        (
            &["owner>a 11 20 3"],
            "a>b 3 20 3",
            &["owner>a 11 20 3", "a>b 3 20 3"],
        ),
        (
            &["owner>a 11 20 3"],
            "a>b 1 19 4",
            &["owner>a 11 20 3", "a>b 1 19 4"],
        ),
        // It replaces the older one from the same to the same, and no other.
        (
            &["owner>a 1", "owner>b 1"],
            "owner>a 2",
            &["owner>b 1", "owner>a 2"],
        ),
        (
            &["operator>a 1"],
            "owner>a 2",
            &["operator>a 1", "owner>a 2"],
        ),
        // What has ended is cleared away.
        (&["owner>a 1 9"], "owner>b 1", &["owner>b 1"]),
        (&["owner>a 9 9", "a>c 1"], "owner>b 1", &["owner>b 1"]),
    ];
    for (before, new, after) in rows {
        same(
            &change(before, |scene| grant(scene, parse(new))).unwrap(),
            after,
        );
    }
}

#[test]
fn what_may_not_be_granted() {
    let rows: [(&[&str], &str, &str); 13] = [
        (&[], "a>b 1", "neither the owner nor holds delegate"),
        (
            &["owner>a 7"],
            "a>b 1",
            "neither the owner nor holds delegate",
        ),
        (
            &["owner>a 8 9"],
            "a>b 1",
            "neither the owner nor holds delegate",
        ),
        (
            &["owner>a 15", "a>b 7"],
            "b>c 1",
            "neither the owner nor holds delegate",
        ),
        (&["owner>a 9"], "a>b 3", "rights, at most read"),
        (
            &["owner>a 15"],
            "a>b 8",
            "rights, at most read+write+execute",
        ),
        (&["owner>a 15 20"], "a>b 1", "time, at most until 20"),
        (&["owner>a 15 20"], "a>b 1 21", "time, at most until 20"),
        (&["owner>a 15 - 3"], "a>b 1 - 2", "priority, at least 3"),
        (&[], "owner>a 0", "no right"),
        (&[], "owner>a 1 9", "ended already"),
        (&["owner>a 15"], "a>a 1", "granter itself"),
        (&["owner>a 15"], "a>owner 1", "all rights anyway"),
    ];
    for (before, new, expected) in rows {
        let error = change(before, |scene| grant(scene, parse(new)))
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{new}: {error}");
    }
    let outside = at(10, &["a", "b", "operator"], &[], |scene| {
        grant(scene, parse("owner>a 1"))
    });
    assert!(
        matches!(outside, Err(GrantRefused::NotDelegate { .. })),
        "{outside:?}"
    );
}

#[test]
fn grants_on_an_instance_are_bounded() {
    let many: Vec<String> = (0..MAX_GRANTS).map(|n| format!("owner>ma-{n} 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let one_more = |new| change(&many, |scene| grant(scene, parse(new)));
    assert_eq!(one_more("owner>a 1"), Err(GrantRefused::TooMany));
    assert_eq!(
        one_more("owner>ma-3 2").map(|grants| grants.len()),
        Ok(MAX_GRANTS)
    );
}

#[test]
fn revoking_takes_along_what_hung_on_it() {
    let before = [
        "owner>a 15",
        "a>b 1",
        "operator>b 2",
        "owner>c 9",
        "c>app 1",
    ];
    let rows: [(&str, &str, &[&str]); 7] = [
        ("owner", "a", &["operator>b 2", "owner>c 9", "c>app 1"]),
        ("operator", "b", &["owner>a 15", "owner>c 9", "c>app 1"]),
        ("owner", "b", &["owner>a 15", "owner>c 9", "c>app 1"]),
        (
            "a",
            "b",
            &["owner>a 15", "operator>b 2", "owner>c 9", "c>app 1"],
        ),
        // Everybody may give up its own.
        ("a", "a", &["operator>b 2", "owner>c 9", "c>app 1"]),
        ("b", "b", &["owner>a 15", "owner>c 9", "c>app 1"]),
        (
            "c",
            "app",
            &["owner>a 15", "a>b 1", "operator>b 2", "owner>c 9"],
        ),
    ];
    for (by, to, after) in rows {
        same(
            &change(&before, |scene| revoke(scene, &who(by), &who(to))).unwrap(),
            after,
        );
    }
    for (by, to) in [
        ("a", "c"),
        ("b", "a"),
        ("c", "b"),
        ("owner", "d"),
        ("app", "c"),
        ("device", "a"),
    ] {
        let refused = change(&before, |scene| revoke(scene, &who(by), &who(to)));
        assert!(
            matches!(refused, Err(GrantRefused::NothingToRevoke { .. })),
            "{by} {to}"
        );
    }
}

#[test]
fn a_right_that_was_taken_away_does_not_come_back_with_a_later_grant() {
    let narrowed = change(&["owner>a 15", "a>b 7"], |scene| {
        grant(scene, parse("owner>a 9"))
    });
    same(&narrowed.unwrap(), &["a>b 1", "owner>a 9"]);
    let without_delegate = change(&["owner>a 15", "a>b 7"], |scene| {
        grant(scene, parse("owner>a 7"))
    });
    same(&without_delegate.unwrap(), &["owner>a 7"]);
}

#[test]
fn without_a_clock_nothing_temporary_is_lost_or_given() {
    let all = ["owner", "a", "b", "c", "operator"];
    let before = ["owner>a 15 20", "a>b 1 15"];
    let lasting = at(UNKNOWN_TIME, &all, &before, |scene| {
        grant(scene, parse("owner>c 1"))
    });
    same(
        &lasting.unwrap(),
        &["owner>a 15 20", "a>b 1 15", "owner>c 1"],
    );
    let temporary = at(UNKNOWN_TIME, &all, &before, |scene| {
        grant(scene, parse("owner>c 1 99"))
    });
    assert!(matches!(temporary, Err(GrantRefused::Pointless(_))));
    let by_delegate = at(UNKNOWN_TIME, &all, &before, |scene| {
        grant(scene, parse("a>c 1"))
    });
    assert!(matches!(by_delegate, Err(GrantRefused::NotDelegate { .. })));
}

#[test]
fn an_instance_goes_to_the_most_trusted_delegate_or_to_the_operator() {
    let rows: [(&[&str], &str, &[&str]); 9] = [
        (&[], "operator", &[]),
        (&["owner>a 9", "operator>a 1"], "a", &[]),
        // Rights alone, or a temporary trust, make no owner of anybody.
        (&["owner>a 7"], "operator", &[]),
        (&["owner>a 15 99"], "operator", &[]),
        (&["owner>app 15"], "operator", &[]),
        (&["owner>a 9", "owner>b 11"], "b", &[]),
        (&["owner>a 9", "owner>b 9 - -1"], "b", &[]),
        (&["owner>b 9", "owner>a 9"], "a", &[]),
        // What the heir gave stays; what hung on another delegate goes.
        (
            &["owner>a 15", "a>c 1", "owner>b 9", "b>app 1"],
            "a",
            &["a>c 1"],
        ),
    ];
    for (before, owner, after) in rows {
        let left = without(&record("owner", before), &who("owner")).unwrap();
        assert_eq!(left.owner, who(owner), "{before:?}");
        same(&left.grants, after);
    }
    let granted_by_operator = record("owner", &["operator>a 9", "a>b 1"]);
    let left = without(&granted_by_operator, &who("owner")).unwrap();
    assert_eq!(left.owner, Authority::operator());
    same(&left.grants, &["operator>a 9", "a>b 1"]);
}

#[test]
fn a_leaving_authority_takes_its_grants_along_and_leaves_others_alone() {
    let before = record("owner", &["owner>a 15", "a>b 1", "owner>c 1"]);
    let left = without(&before, &who("a")).unwrap();
    assert_eq!(left.owner, who("owner"));
    same(&left.grants, &["owner>c 1"]);
    assert_eq!(without(&before, &who("stranger")), None);
}
