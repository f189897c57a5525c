//! The rules by table, each beside its negation; then the rules against a naive evaluator.

use super::*;
use crate::config::PolicyRule;

const MOID: &str = "urn:oma:mo:test:1.0";

/// Who plays: `owner`, `a`, `b`, `c` are servers; `device`, `operator` and `app` are local.
fn who(name: &str) -> Authority {
    match name {
        "device" => Authority::device(),
        "operator" => Authority::operator(),
        "app" => Authority::local("app"),
        server => Authority::server(server),
    }
}

/// `r`, `w`, `x`, `d`.
fn rights(letters: &str) -> Rights {
    let named = |letter| match letter {
        'r' => Access::Read,
        'w' => Access::Write,
        'x' => Access::Execute,
        'd' => Access::Delegate,
        other => panic!("no right {other}"),
    };
    letters.chars().map(named).collect()
}

/// `granter>receiver rights [until] [priority]`
fn parse_grant(text: &str) -> Grant {
    let words: Vec<&str> = text.split(' ').collect();
    let (granted_by, to) = words[0].split_once('>').unwrap();
    Grant {
        to: who(to),
        granted_by: who(granted_by),
        rights: rights(words[1]),
        not_after: words.get(2).and_then(|until| until.parse().ok()),
        priority: words.get(3).map_or(0, |priority| priority.parse().unwrap()),
    }
}

/// `authority rights`, all on `MOID`.
fn parse_policy(lines: &[&str]) -> Policy {
    let rules: Vec<PolicyRule> = lines
        .iter()
        .map(|line| {
            let (authority, letters) = line.split_once(' ').unwrap();
            let rights = rights(letters);
            let rights = Access::ALL
                .into_iter()
                .filter(|access| rights.contains(*access));
            PolicyRule {
                authority: if authority == "*" {
                    "*".into()
                } else {
                    who(authority).to_string()
                },
                moid: MOID.to_owned(),
                rights: rights.map(|access| access.name().to_owned()).collect(),
            }
        })
        .collect();
    Policy::new(&rules).unwrap()
}

/// A story: who owns the instance, what was granted, what the policy says, whose account does not permit it.
#[derive(Default)]
struct Story {
    owner: &'static str,
    grants: &'static [&'static str],
    policy: &'static [&'static str],
    outside: &'static [&'static str],
    now: u64,
}

impl Story {
    /// Checks `(who, its rights)`.
    #[track_caller]
    fn gives(&self, expected: &[(&str, &str)]) {
        let owner = if self.owner.is_empty() {
            "owner"
        } else {
            self.owner
        };
        let grants = self.grants.iter().map(|grant| parse_grant(grant)).collect();
        let record = InstanceRecord {
            owner: who(owner),
            plugin: "test".to_owned(),
            grants,
        };
        let everybody = ["owner", "a", "b", "c", "device", "operator", "app"];
        let permitted = everybody.iter().filter(|name| !self.outside.contains(name));
        let permitted = permitted.map(|name| who(name)).collect();
        let policy = parse_policy(self.policy);
        let (record, permitted) = (&record, &permitted);
        let scene = Scene {
            record,
            moid: MOID,
            policy: &policy,
            permitted,
            now: self.now,
        };
        for (name, letters) in expected {
            assert_eq!(scene.rights(&who(name)), rights(letters), "{name}");
            for access in Access::ALL {
                let allowed = scene.allows(&who(name), access).is_some();
                assert_eq!(allowed, rights(letters).contains(access), "{name} {access}");
            }
        }
    }
}

#[test]
fn the_owner_and_the_operator_hold_all_rights_and_nobody_else_any() {
    Story::default().gives(&[
        ("owner", "rwxd"),
        ("operator", "rwxd"),
        ("a", ""),
        ("device", ""),
        ("app", ""),
    ]);
    Story {
        owner: "app",
        ..Story::default()
    }
    .gives(&[("app", "rwxd"), ("owner", "")]);
    Story {
        owner: "device",
        ..Story::default()
    }
    .gives(&[("device", "rwxd"), ("owner", "")]);
}

#[test]
fn a_grant_gives_its_rights_to_its_receiver_alone() {
    let grants = &["owner>a rx", "operator>b w", "owner>app r"];
    Story {
        grants,
        ..Story::default()
    }
    .gives(&[
        ("a", "rx"),
        ("b", "w"),
        ("app", "r"),
        ("c", ""),
        ("owner", "rwxd"),
    ]);
}

#[test]
fn a_grant_from_somebody_without_delegate_gives_nothing() {
    let rows: &[(&'static [&'static str], &str)] = &[
        (&["a>b r"], ""),
        (&["owner>a rwx", "a>b r"], ""),
        (&["owner>a rwxd", "a>b r"], "r"),
        (&["operator>a rd", "a>b r"], "r"),
        (&["device>b r"], ""),
        (&["b>b rwxd"], ""),
    ];
    for (grants, letters) in rows {
        Story {
            grants,
            ..Story::default()
        }
        .gives(&[("b", letters)]);
    }
}

#[test]
fn a_delegate_gives_no_more_than_it_holds_and_never_delegate() {
    let rows: &[(&'static [&'static str], &str)] = &[
        (&["owner>a rd", "a>b rwx"], "r"),
        (&["owner>a d", "a>b rwx"], ""),
        (&["owner>a rwxd", "a>b rwxd"], "rwx"),
        // Rights beside Delegate do not add up over different grants.
        (&["owner>a rd", "operator>a w", "a>b rw"], "r"),
        (&["owner>a rd", "operator>a wd", "a>b rw"], "rw"),
        // No third link, and no way round it.
        (&["owner>a rwxd", "a>c rwxd", "c>b r"], ""),
        (&["owner>a d", "a>b d", "b>a rwx"], ""),
    ];
    for (grants, letters) in rows {
        Story {
            grants,
            ..Story::default()
        }
        .gives(&[("b", letters)]);
    }
    let grants = &["owner>a d", "a>b d", "b>a rwx"];
    Story {
        grants,
        ..Story::default()
    }
    .gives(&[("a", "d")]);
}

#[test]
fn a_grant_ends_after_its_last_second_and_takes_along_what_hangs_on_it() {
    let rows = [
        (0, "rd", "r"),
        (99, "rd", "r"),
        (100, "rd", "r"),
        (101, "", ""),
        (UNKNOWN_TIME, "", ""),
    ];
    for (now, a, b) in rows {
        let grants = &["owner>a rd 100", "a>b r"];
        Story {
            grants,
            now,
            ..Story::default()
        }
        .gives(&[("a", a), ("b", b)]);
    }
    let grants = &["owner>a rd", "a>b r 100", "owner>c w"];
    Story {
        grants,
        now: 101,
        ..Story::default()
    }
    .gives(&[("a", "rd"), ("b", ""), ("c", "w")]);
    Story {
        grants,
        now: UNKNOWN_TIME,
        ..Story::default()
    }
    .gives(&[("a", "rd"), ("c", "w")]);
}

#[test]
fn outside_its_account_nobody_holds_or_gives_anything() {
    let grants = &["owner>a rwxd", "a>b r", "owner>c r"];
    let story = |outside| Story {
        grants,
        outside,
        ..Story::default()
    };
    story(&[]).gives(&[("a", "rwxd"), ("b", "r"), ("c", "r"), ("owner", "rwxd")]);
    story(&["a"]).gives(&[("a", ""), ("b", ""), ("c", "r"), ("owner", "rwxd")]);
    story(&["b"]).gives(&[("a", "rwxd"), ("b", ""), ("c", "r")]);
    story(&["owner"]).gives(&[
        ("owner", ""),
        ("a", ""),
        ("b", ""),
        ("c", ""),
        ("operator", "rwxd"),
    ]);
}

#[test]
fn device_policy_counts_on_instances_of_the_device_alone() {
    let policy = &["* r", "a wd", "app x"];
    let of_device = Story {
        owner: "device",
        policy,
        ..Story::default()
    };
    of_device.gives(&[("a", "rwd"), ("b", "r"), ("app", "x"), ("device", "rwxd")]);
    for owner in ["owner", "app", "operator"] {
        Story {
            owner,
            policy,
            ..Story::default()
        }
        .gives(&[("a", ""), ("b", "")]);
    }
    Story {
        owner: "device",
        policy,
        outside: &["a"],
        ..Story::default()
    }
    .gives(&[("a", "")]);
}

#[test]
fn who_holds_delegate_by_policy_may_pass_on_what_that_line_gives() {
    let policy = &["a rd", "a w", "b x"];
    let grants = &["a>c rwx", "b>app x"];
    let of_device = Story {
        owner: "device",
        policy,
        grants,
        ..Story::default()
    };
    of_device.gives(&[("c", "r"), ("app", "")]);
    Story {
        policy,
        grants,
        ..Story::default()
    }
    .gives(&[("c", "")]);
}

#[test]
fn the_rule_and_the_precedence_name_what_counts() {
    let grants: Vec<Grant> = [
        "owner>a rd 100 5",
        "a>b r 200 1",
        "a>c r - 9",
        "operator>c rw 50 7",
        "owner>app x - -3",
    ]
    .iter()
    .map(|grant| parse_grant(grant))
    .collect();
    let record = InstanceRecord {
        owner: who("owner"),
        plugin: String::new(),
        grants,
    };
    let permitted = ["owner", "a", "b", "c", "operator", "app"].map(who).into();
    let policy = Policy::default();
    let (record, permitted) = (&record, &permitted);
    let scene = Scene {
        record,
        moid: MOID,
        policy: &policy,
        permitted,
        now: 0,
    };
    let grant_by = |by: &str| Rule::Grant { by: who(by) };
    let rows = [
        ("operator", Access::Write, Rule::Operator, i32::MIN, false),
        ("owner", Access::Write, Rule::Owner, 0, false),
        ("a", Access::Read, grant_by("owner"), 5, true),
        // Never before its granter, whatever the grant says.
        ("b", Access::Read, grant_by("a"), 5, true),
        // The better of two.
        ("c", Access::Read, grant_by("operator"), 7, true),
        ("app", Access::Execute, grant_by("owner"), -3, true),
    ];
    for (name, access, rule, priority, not_owner) in rows {
        let precedence = Precedence {
            priority,
            not_owner,
        };
        assert_eq!(
            scene.allows(&who(name), access),
            Some((rule, precedence)),
            "{name} {access}"
        );
    }
    let order = [
        (i32::MIN, false),
        (-1, true),
        (0, false),
        (0, true),
        (1, true),
    ];
    assert!(order.is_sorted_by_key(|(priority, not_owner)| Precedence {
        priority: *priority,
        not_owner: *not_owner
    }));

    let later = |now| Scene { now, ..scene };
    assert_eq!(scene.ended(&who("a"), Access::Read), None);
    assert_eq!(
        later(101).ended(&who("a"), Access::Read),
        Some((who("owner"), 100))
    );
    assert_eq!(later(101).ended(&who("a"), Access::Write), None);
    assert_eq!(later(100).ended(&who("a"), Access::Read), None);
    // The latest of two.
    let latest = later(101).ended(&who("c"), Access::Read);
    assert_eq!(latest, Some((who("a"), 100)));
    // The end is that of the chain.
    assert_eq!(
        later(101).ended(&who("b"), Access::Read),
        Some((who("a"), 100))
    );
    assert_eq!(
        later(101).ended(&who("c"), Access::Write),
        Some((who("operator"), 50))
    );
}

#[test]
fn the_rules_agree_with_a_naive_evaluator() {
    let names = ["owner", "a", "b", "c", "app", "device", "operator"].map(who);
    let policies = [
        parse_policy(&[]),
        parse_policy(&["* r"]),
        parse_policy(&["* r", "a rwd", "app x"]),
        parse_policy(&["b d", "b x", "c wxd"]),
    ];
    let mut random = Random(0x5EED);
    let (mut allowed, mut by_delegates) = (0, 0);
    for case in 0..100_000 {
        let owner = random.pick(&names).clone();
        let mut grants: Vec<Grant> = Vec::new();
        for _ in 0..random.below(7) {
            // Half of the grants come from the owner, most others from whom something was granted.
            let granted_by = match (random.below(5), grants.last()) {
                (0 | 1, _) => owner.clone(),
                (2 | 3, Some(last)) => last.to.clone(),
                _ => random.pick(&names).clone(),
            };
            grants.push(Grant {
                to: random.pick(&names[..5]).clone(),
                granted_by,
                rights: Rights::from_bits((random.below(16) | (random.below(2) * 8)) as u8)
                    .unwrap(),
                not_after: (random.below(3) == 0).then(|| random.below(4)),
                priority: 0,
            });
        }
        let record = InstanceRecord {
            owner,
            plugin: String::new(),
            grants,
        };
        let mut permitted: BTreeSet<Authority> = names
            .iter()
            .filter(|_| random.below(10) > 0)
            .cloned()
            .collect();
        permitted.insert(Authority::operator());
        let policy = random.pick(&policies);
        let (record, permitted, now) = (&record, &permitted, random.below(5));
        let scene = Scene {
            record,
            moid: MOID,
            policy,
            permitted,
            now,
        };
        let asker = match record.grants.last() {
            Some(last) if random.below(4) > 0 => &last.to,
            _ => random.pick(&names),
        };
        let access = *random.pick(&Access::ALL);

        let expected = naive::may(&scene, asker, access);
        let found = scene.allows(asker, access).is_some();
        assert_eq!(
            found, expected,
            "case {case}: {asker} {access} {record:?} {permitted:?} {now} {policy:?}"
        );
        assert_eq!(
            scene.rights(asker).contains(access),
            expected,
            "case {case}"
        );
        allowed += usize::from(found);
        by_delegates += usize::from(found && !naive::may_at_first_hand(&scene, asker, access));
    }
    // The cases reach both answers and the long chains.
    assert!((20_000..80_000).contains(&allowed), "{allowed}");
    assert!(by_delegates > 500, "{by_delegates}");
}

/// The rules once more, as plainly as possible: search for a chain of grants, one right at a time.
mod naive {
    use super::*;

    pub(super) fn may(scene: &Scene<'_>, who: &Authority, access: Access) -> bool {
        if may_at_first_hand(scene, who, access) {
            return true;
        }
        // owner, operator or policy --first--> delegate --second--> who
        if access == Access::Delegate || !scene.permitted.contains(who) {
            return false;
        }
        for second in &scene.record.grants {
            if !fits(scene, second, who, access) {
                continue;
            }
            let delegate = &second.granted_by;
            for first in &scene.record.grants {
                if fits(scene, first, delegate, access)
                    && first.rights.contains(Access::Delegate)
                    && scene.permitted.contains(delegate)
                    && is_source(scene, &first.granted_by)
                {
                    return true;
                }
            }
            if scene.permitted.contains(delegate)
                && policy(scene, delegate, &[access, Access::Delegate])
            {
                return true;
            }
        }
        false
    }

    /// With at most one grant.
    pub(super) fn may_at_first_hand(scene: &Scene<'_>, who: &Authority, access: Access) -> bool {
        if !scene.permitted.contains(who) {
            return false;
        }
        if is_source(scene, who) || policy(scene, who, &[access]) {
            return true;
        }
        for grant in &scene.record.grants {
            if fits(scene, grant, who, access) && is_source(scene, &grant.granted_by) {
                return true;
            }
        }
        false
    }

    fn is_source(scene: &Scene<'_>, who: &Authority) -> bool {
        let owner = *who == scene.record.owner && scene.permitted.contains(who);
        owner || who.as_str() == "local:operator"
    }

    fn fits(scene: &Scene<'_>, grant: &Grant, to: &Authority, access: Access) -> bool {
        let ended = match grant.not_after {
            Some(last) => scene.now > last,
            None => false,
        };
        grant.to == *to && grant.rights.contains(access) && !ended
    }

    /// Whether one line has all of `needed`.
    fn policy(scene: &Scene<'_>, who: &Authority, needed: &[Access]) -> bool {
        if scene.record.owner.as_str() != "local:device" {
            return false;
        }
        for line in scene.policy.lines(who, scene.moid) {
            if needed.iter().all(|access| line.rights.contains(*access)) {
                return true;
            }
        }
        false
    }
}

/// xorshift64*, so that every run sees the same cases.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}
