//! The door: what it fetches, which permit or refusal comes out, what it records.

use bailiwick_protocol::StatusCode;

use super::*;

const MINE: &str = "urn:oma:mo:mine:1.0";
const INFO: &str = "urn:oma:mo:info:1.0";
const HIDDEN: &str = "urn:oma:mo:hidden:1.0";

fn a() -> Authority {
    Authority::server("ma-a")
}

fn b() -> Authority {
    Authority::server("ma-b")
}

fn app() -> Authority {
    Authority::local("app")
}

/// A device where `a` and `b` may manage `MINE` and `INFO`, and everybody may read `INFO` of the device.
fn device() -> (Permissions, Transaction) {
    let store = Store::in_memory().unwrap();
    let rule = |authority: &str, moid: &str, right: &str| PolicyRule {
        authority: authority.to_owned(),
        moid: moid.to_owned(),
        rights: vec![right.to_owned()],
    };
    let policy = [rule("*", INFO, "read"), rule("local:app", INFO, "execute")];
    let permissions = Permissions::new(store.clone(), &policy).unwrap();
    let tx = store.begin();
    for who in [a(), b()] {
        permissions
            .set_permitted(&tx, &who, &[MINE.to_owned(), INFO.to_owned()])
            .unwrap();
    }
    (permissions, tx)
}

/// An instance of `MINE` that `a` made.
fn made_by_a(permissions: &Permissions, tx: &Transaction) -> Instance {
    let instance = Instance::new(MINE, "1");
    let permit = permissions.may_create(tx, &a(), MINE).unwrap();
    permissions
        .record_instance(tx, &permit, &instance, "clock")
        .unwrap();
    instance
}

fn terms(rights: u8, not_after: Option<u64>) -> GrantTerms {
    GrantTerms {
        rights: Rights::from_bits(rights).unwrap(),
        not_after,
        priority: 0,
    }
}

#[test]
fn the_creator_owns_exclusively() {
    let (permissions, tx) = device();
    let instance = made_by_a(&permissions, &tx);
    for access in Access::ALL {
        let permit = permissions.permit(&tx, &a(), access, &instance, 0).unwrap();
        assert_eq!((permit.authority(), permit.access()), (&a(), access));
        assert_eq!(
            (permit.instance(), permit.rule()),
            (&instance, &Rule::Owner)
        );
        let denied = permissions
            .permit(&tx, &b(), access, &instance, 0)
            .unwrap_err();
        assert!(matches!(denied, Denied::NoRight { .. }), "{denied:?}");
    }
    let operator = Authority::operator();
    let permit = permissions
        .permit(&tx, &operator, Access::Write, &instance, 0)
        .unwrap();
    assert_eq!(permit.rule(), &Rule::Operator);
    assert!(
        permissions
            .permit(&tx, &Authority::device(), Access::Read, &instance, 0)
            .is_err()
    );
}

#[test]
fn an_authority_cannot_tell_the_instances_of_others_from_none() {
    let (permissions, tx) = device();
    let (others, none) = (made_by_a(&permissions, &tx), Instance::new(MINE, "2"));
    for access in Access::ALL {
        let denied = |instance: &Instance| {
            permissions
                .permit(&tx, &b(), access, instance, 0)
                .unwrap_err()
        };
        assert_eq!(denied(&others).status(), StatusCode::NOT_FOUND);
        assert_eq!(denied(&others).status(), denied(&none).status());
        // Outside its account: the same answer whether or not there is such a type.
        for instance in [
            Instance::new(HIDDEN, "1"),
            Instance::new("urn:no:such:type", "1"),
        ] {
            assert_eq!(denied(&instance).status(), StatusCode::FORBIDDEN);
        }
    }
    let candidates = || [others.clone(), none.clone(), Instance::new(INFO, "1")].into_iter();
    let seen = |who| {
        permissions
            .visible(&tx, &who, MINE, candidates(), 0)
            .unwrap()
    };
    assert_eq!(seen(b()), []);
    assert_eq!(seen(a()), std::slice::from_ref(&others));
    assert_eq!(seen(Authority::operator()), [others.clone(), none.clone()]);
    assert_eq!(seen(Authority::server("unknown")), []);
}

#[test]
fn each_refusal_has_its_status() {
    let (authority, instance) = (a(), Instance::new(MINE, "1"));
    let (access, has) = (Access::Write, Rights::from(Access::Read));
    let expired = |has| Denied::Expired {
        authority: a(),
        instance: Instance::new(MINE, "1"),
        access,
        by: b(),
        ended: 9,
        has,
    };
    let rows = [
        (Denied::UnknownAuthority { authority: a() }, 403),
        (
            Denied::MoidNotPermitted {
                authority: a(),
                moid: MINE.to_owned(),
            },
            403,
        ),
        (
            Denied::NotForOthers {
                authority: a(),
                owner: b(),
            },
            403,
        ),
        (
            Denied::NoRight {
                authority: a(),
                instance: instance.clone(),
            },
            404,
        ),
        (
            Denied::LacksRight {
                authority,
                instance,
                access,
                has,
            },
            403,
        ),
        (expired(Rights::NONE), 404),
        (expired(has), 403),
        (Denied::Unreadable(StoreError::Stopped), 500),
    ];
    for (denied, status) in rows {
        assert_eq!(denied.status(), StatusCode(status), "{denied}");
    }
}

#[test]
fn some_right_but_not_this_one_is_forbidden() {
    let (permissions, tx) = device();
    let instance = made_by_a(&permissions, &tx);
    let delegate = permissions
        .permit(&tx, &a(), Access::Delegate, &instance, 0)
        .unwrap();
    permissions
        .grant(&tx, &delegate, &b(), terms(1, Some(100)), 0)
        .unwrap();

    let permit = permissions
        .permit(&tx, &b(), Access::Read, &instance, 100)
        .unwrap();
    assert_eq!(permit.rule(), &Rule::Grant { by: a() });
    let denied = permissions
        .permit(&tx, &b(), Access::Write, &instance, 100)
        .unwrap_err();
    assert_eq!(denied.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        denied.rule(),
        format!("ma-b has read on {instance}, and not write")
    );
    let ended = permissions
        .permit(&tx, &b(), Access::Read, &instance, 101)
        .unwrap_err();
    assert_eq!(ended.status(), StatusCode::NOT_FOUND);
    assert!(ended.rule().contains("by ma-a ended at 100"), "{ended}");
}

#[test]
fn policy_opens_what_the_device_owns() {
    let (permissions, tx) = device();
    let info = Instance::new(INFO, "1");
    let permit = permissions
        .permit(&tx, &b(), Access::Read, &info, 0)
        .unwrap();
    assert_eq!(
        permit.rule().to_string(),
        format!("device policy 1: read for * on {INFO}")
    );
    let denied = permissions
        .permit(&tx, &b(), Access::Write, &info, 0)
        .unwrap_err();
    assert_eq!(denied.status(), StatusCode::FORBIDDEN);
    // Its own instance of the same type stays its own.
    let own = Instance::new(INFO, "2");
    let create = permissions.may_create(&tx, &a(), INFO).unwrap();
    permissions
        .record_instance(&tx, &create, &own, "info")
        .unwrap();
    assert!(
        permissions
            .permit(&tx, &b(), Access::Read, &own, 0)
            .is_err()
    );
}

#[test]
fn a_local_application_passes_through_the_same_door() {
    let (permissions, tx) = device();
    let info = Instance::new(INFO, "1");
    assert!(
        permissions
            .permit(&tx, &app(), Access::Execute, &info, 0)
            .is_ok()
    );
    assert_eq!(
        permissions
            .permit(&tx, &app(), Access::Read, &info, 0)
            .unwrap_err()
            .status(),
        StatusCode::FORBIDDEN
    );
    let stranger = Authority::local("stranger");
    let denied = permissions
        .permit(&tx, &stranger, Access::Execute, &info, 0)
        .unwrap_err();
    assert!(matches!(denied, Denied::UnknownAuthority { .. }));
    // The policy lets it execute, so it may not make instances; a list of its own does.
    assert!(permissions.may_create(&tx, &app(), INFO).is_err());
    permissions
        .set_permitted(&tx, &app(), &[MINE.to_owned()])
        .unwrap();
    let permit = permissions.may_create(&tx, &app(), MINE).unwrap();
    assert_eq!(permit.owner(), &app());
    assert_eq!(
        permissions.permitted_moids(&tx, &app()).unwrap(),
        [INFO, MINE]
    );
}

#[test]
fn who_may_create() {
    let (permissions, tx) = device();
    let unknown = Authority::server("unknown");
    let rows = [
        (a(), a(), MINE, Ok("type permitted by the account of ma-a")),
        (a(), a(), HIDDEN, Err(403)),
        (unknown.clone(), unknown, MINE, Err(403)),
        (a(), b(), MINE, Err(403)),
        (app(), a(), MINE, Err(403)),
        (
            Authority::operator(),
            b(),
            HIDDEN,
            Ok("operator of the device"),
        ),
        (Authority::device(), b(), HIDDEN, Ok("the device itself")),
    ];
    for (who, owner, moid, expected) in rows {
        let found = permissions.may_create_for(&tx, &who, &owner, moid);
        let found = found.map_err(|denied| denied.status().0).map(|permit| {
            assert_eq!((permit.owner(), permit.moid()), (&owner, moid));
            permit.rule().to_string()
        });
        assert_eq!(
            found,
            expected.map(str::to_owned),
            "{who} for {owner} {moid}"
        );
    }
}

#[test]
fn records_are_made_once_and_forgotten_with_a_permit_to_write() {
    let (permissions, tx) = device();
    let instance = made_by_a(&permissions, &tx);
    let create = permissions.may_create(&tx, &b(), MINE).unwrap();
    let again = permissions.record_instance(&tx, &create, &instance, "clock");
    assert_eq!(
        again,
        Err(PermissionError::Exists {
            instance: instance.clone()
        })
    );
    let other_type = permissions.record_instance(&tx, &create, &Instance::new(INFO, "7"), "clock");
    assert!(matches!(
        other_type,
        Err(PermissionError::WrongPermit { .. })
    ));

    let found = permissions.instances_of(&tx, MINE).unwrap();
    let record = InstanceRecord {
        owner: a(),
        plugin: "clock".to_owned(),
        grants: Vec::new(),
    };
    assert_eq!(found, [(instance.clone(), record)]);

    let read = permissions
        .permit(&tx, &a(), Access::Read, &instance, 0)
        .unwrap();
    assert!(permissions.forget_instance(&tx, &read).is_err());
    let write = permissions
        .permit(&tx, &a(), Access::Write, &instance, 0)
        .unwrap();
    permissions.forget_instance(&tx, &write).unwrap();
    assert_eq!(permissions.instances_of(&tx, MINE).unwrap(), []);
    assert!(
        permissions
            .permit(&tx, &a(), Access::Read, &instance, 0)
            .is_err()
    );
}

#[test]
fn grants_need_a_permit_to_delegate() {
    let (permissions, tx) = device();
    let instance = made_by_a(&permissions, &tx);
    let permit = |who: Authority, access| permissions.permit(&tx, &who, access, &instance, 0);
    let write = permit(a(), Access::Write).unwrap();
    let refused = permissions.grant(&tx, &write, &b(), terms(1, None), 0);
    assert!(matches!(refused, Err(PermissionError::WrongPermit { .. })));

    let refused = permissions.revoke(&tx, &write, &b(), 0);
    assert!(matches!(refused, Err(PermissionError::WrongPermit { .. })));

    let delegate = permit(a(), Access::Delegate).unwrap();
    permissions
        .grant(&tx, &delegate, &b(), terms(9, None), 0)
        .unwrap();
    let from_b = permit(b(), Access::Delegate).unwrap();
    permissions
        .grant(&tx, &from_b, &app(), terms(1, None), 0)
        .unwrap();
    let exceeds = permissions.grant(&tx, &from_b, &app(), terms(3, None), 0);
    assert!(matches!(
        exceeds,
        Err(PermissionError::Grant(GrantRefused::Exceeds { .. }))
    ));

    permissions
        .set_permitted(&tx, &app(), &[MINE.to_owned()])
        .unwrap();
    assert!(permit(app(), Access::Read).is_ok());
    // b's account no longer permits the type: nor do its grants count.
    permissions
        .set_permitted(&tx, &b(), &[INFO.to_owned()])
        .unwrap();
    assert_eq!(
        permit(app(), Access::Read).unwrap_err().status(),
        StatusCode::NOT_FOUND
    );
    permissions
        .set_permitted(&tx, &b(), &[MINE.to_owned()])
        .unwrap();
    assert!(permit(app(), Access::Read).is_ok());

    permissions.revoke(&tx, &delegate, &b(), 0).unwrap();
    assert!(permit(b(), Access::Read).is_err());
    assert!(permit(app(), Access::Read).is_err());
}

#[test]
fn everybody_may_give_up_its_own_rights() {
    let (permissions, tx) = device();
    let instance = made_by_a(&permissions, &tx);
    let delegate = permissions
        .permit(&tx, &a(), Access::Delegate, &instance, 0)
        .unwrap();
    permissions
        .grant(&tx, &delegate, &b(), terms(1, None), 0)
        .unwrap();
    let read = permissions
        .permit(&tx, &b(), Access::Read, &instance, 0)
        .unwrap();
    assert!(permissions.revoke(&tx, &read, &a(), 0).is_err());
    permissions.revoke(&tx, &read, &b(), 0).unwrap();
    assert!(
        permissions
            .permit(&tx, &b(), Access::Read, &instance, 0)
            .is_err()
    );
}

#[test]
fn a_removed_authority_leaves_nothing_behind() {
    let (permissions, tx) = device();
    let instance = made_by_a(&permissions, &tx);
    let other = Instance::new(MINE, "2");
    let create = permissions.may_create(&tx, &a(), MINE).unwrap();
    permissions
        .record_instance(&tx, &create, &other, "clock")
        .unwrap();
    let delegate = permissions
        .permit(&tx, &a(), Access::Delegate, &other, 0)
        .unwrap();
    permissions
        .grant(&tx, &delegate, &b(), terms(15, None), 0)
        .unwrap();

    let inherited = permissions.remove_authority(&tx, &a()).unwrap();
    assert_eq!(
        inherited,
        [
            (instance.clone(), Authority::operator()),
            (other.clone(), b())
        ]
    );
    let denied = permissions
        .permit(&tx, &a(), Access::Read, &other, 0)
        .unwrap_err();
    assert!(matches!(denied, Denied::UnknownAuthority { .. }));
    let permit = permissions
        .permit(&tx, &b(), Access::Write, &other, 0)
        .unwrap();
    assert_eq!(permit.rule(), &Rule::Owner);
    assert!(
        permissions
            .permit(&tx, &b(), Access::Read, &instance, 0)
            .is_err()
    );
    // An account of the same name later starts from nothing.
    permissions
        .set_permitted(&tx, &a(), &[MINE.to_owned()])
        .unwrap();
    assert!(
        permissions
            .permit(&tx, &a(), Access::Read, &instance, 0)
            .is_err()
    );
}

#[test]
fn odd_identifiers_stay_apart() {
    let (permissions, tx) = device();
    let (moid, miid) = ("urn:a\0b", "c\u{1}\0");
    let odd = vec![moid.to_owned(), "urn:a".to_owned()];
    permissions.set_permitted(&tx, &a(), &odd).unwrap();
    let instance = Instance::new(moid, miid);
    let create = permissions.may_create(&tx, &a(), moid).unwrap();
    permissions
        .record_instance(&tx, &create, &instance, "p")
        .unwrap();
    let found = permissions.instances_of(&tx, moid).unwrap();
    assert_eq!(
        found
            .into_iter()
            .map(|(instance, _)| instance)
            .collect::<Vec<_>>(),
        [instance]
    );
    assert_eq!(permissions.instances_of(&tx, "urn:a").unwrap(), []);
    let close = Instance::new("urn:a", "b\0c\u{1}\0");
    assert!(
        permissions
            .permit(&tx, &a(), Access::Read, &close, 0)
            .is_err()
    );
}

#[test]
fn what_the_store_cannot_answer_is_refused() {
    let (permissions, tx) = device();
    let instance = made_by_a(&permissions, &tx);
    tx.put(Table::Instances, &record_key(&instance), b"{".to_vec());
    let denied = permissions
        .permit(&tx, &a(), Access::Read, &instance, 0)
        .unwrap_err();
    assert!(matches!(denied, Denied::Unreadable(_)), "{denied:?}");
    assert_eq!(denied.status(), StatusCode::FAILED);
}

#[tokio::test]
async fn an_explanation_names_all_that_was_looked_at() {
    let (permissions, tx) = device();
    let instance = made_by_a(&permissions, &tx);
    let delegate = permissions
        .permit(&tx, &a(), Access::Delegate, &instance, 0)
        .unwrap();
    permissions
        .grant(&tx, &delegate, &b(), terms(9, Some(100)), 0)
        .unwrap();
    let from_b = permissions
        .permit(&tx, &b(), Access::Delegate, &instance, 0)
        .unwrap();
    permissions
        .grant(&tx, &from_b, &app(), terms(1, Some(50)), 0)
        .unwrap();
    tx.commit().await.unwrap();

    let explain = |who, access, now| permissions.explain(&who, access, &instance, now).unwrap();
    let allowed = explain(b(), Access::Read, 100);
    assert_eq!(
        (allowed.allowed, allowed.status, allowed.rule.as_str()),
        (true, 200, "grant by ma-a")
    );
    let denied = explain(b(), Access::Read, 101);
    assert_eq!((denied.allowed, denied.status), (false, 404));
    assert_eq!(
        denied.considered,
        [
            format!("the account of ma-b permits {MINE}"),
            "the instance belongs to ma-a".to_owned(),
            "grant of read+delegate by ma-a to ma-b until 100 (Unix time); has ended".to_owned(),
        ]
    );
    let chained = explain(app(), Access::Read, 10);
    assert_eq!(
        chained.considered[2],
        "grant of read by ma-b to local:app until 50 (Unix time); gives read, as ma-b itself holds read+delegate"
    );

    let info = Instance::new(INFO, "1");
    let by_policy = permissions.explain(&a(), Access::Write, &info, 0).unwrap();
    assert_eq!(
        by_policy.rule,
        format!("ma-a has read on {info}, and not write")
    );
    assert_eq!(
        by_policy.considered[2],
        format!("device policy 1: read for * on {INFO}")
    );
}

#[test]
fn a_grant_permits_an_application_the_type_for_as_long_as_there_is_one() {
    let (permissions, tx) = device();
    let certified = Authority::local("ma-a/subject=CN=meter");
    let knows = || permissions.may_manage(&tx, &certified, MINE).unwrap();
    let give = |instance: &Instance, rights| {
        let permit = permissions.permit(&tx, &a(), Access::Delegate, instance, 0);
        permissions
            .grant(&tx, &permit.unwrap(), &certified, terms(rights, None), 0)
            .unwrap();
    };
    let one = made_by_a(&permissions, &tx);
    let other = Instance::new(MINE, "2");
    let permit = permissions.may_create(&tx, &a(), MINE).unwrap();
    permissions
        .record_instance(&tx, &permit, &other, "clock")
        .unwrap();
    assert!(!knows());
    give(&one, 3);
    give(&other, 1);
    assert!(knows());
    permissions
        .permit(&tx, &certified, Access::Write, &one, 0)
        .unwrap();
    let denied = permissions.permit(&tx, &certified, Access::Write, &other, 0);
    assert!(matches!(denied, Err(Denied::LacksRight { .. })));
    assert!(
        permissions.may_create(&tx, &certified, MINE).is_err(),
        "it makes nothing"
    );
    // Not with the first that goes, but with the last.
    let permit = permissions.permit(&tx, &a(), Access::Delegate, &one, 0);
    permissions
        .revoke(&tx, &permit.unwrap(), &certified, 0)
        .unwrap();
    assert!(knows());
    let permit = permissions.permit(&tx, &a(), Access::Write, &other, 0);
    permissions.forget_instance(&tx, &permit.unwrap()).unwrap();
    assert!(!knows());
    give(&one, 1);
    permissions.remove_authority(&tx, &a()).unwrap();
    assert!(!knows());
}
