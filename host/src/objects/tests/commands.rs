//! Commands as transactions: what they leave, what they wait for, and what changes with them.

use super::*;

#[tokio::test]
async fn a_deleted_instance_leaves_nothing() {
    let scene = moroots().await;
    delete(&scene, &north(), "M/1/").await.unwrap();
    let values = scene.store.scan(crate::store::Table::Values, "").unwrap();
    assert!(
        values
            .iter()
            .all(|(key, _)| !key.contains(&format!("{MOID}\0{}\0", 1))),
        "{values:?}"
    );
    let tx = scene.store.begin();
    let recorded = scene.permissions.instances_of(&tx, MOID).unwrap();
    assert_eq!(recorded.len(), 1);
    // The MIID is free again, and the next owner finds nothing of the old one.
    let again = scene.create(&south(), MOID, &tree(&[("ID", "mine")])).await;
    assert_eq!(again, Instance::new(MOID, "1"));
    assert_eq!(read(&scene, &south(), "M//").await.unwrap(), ["ID=mine"]);
}

#[tokio::test]
async fn validators_change_with_the_content_and_with_nothing_else() {
    let scene = moroots().await;
    let cv = async |text: &str| {
        let request = scene.begin(&north());
        let mut readings = scene.objects.read_all(&request, &uri(text)).await.unwrap();
        match readings.pop().unwrap() {
            Reading::Data(data) => data.validator,
            Reading::NotModified => panic!("modified"),
        }
    };
    let first = cv("M/1/").await.unwrap();
    assert_eq!(cv("M/1/Setting").await, None, "at roots alone");
    let held = format!("M/1/?cv={first}");
    assert_eq!(
        read(&scene, &north(), &held).await.unwrap(),
        ["not modified"]
    );
    let of_a_leaf = format!("M/1/Setting?cv={first}");
    assert_eq!(
        read(&scene, &north(), &of_a_leaf).await.unwrap(),
        ["not modified"]
    );
    let of_both = format!("M/*/Setting?cv={first}");
    assert_eq!(
        read(&scene, &north(), &of_both).await.unwrap(),
        ["not modified", "=0xB2"]
    );

    // A write that is not committed changes nothing.
    let request = scene.begin(&north());
    let target = scene
        .objects
        .resolve(&request, &uri("M/1/ID"), Access::Write)
        .await
        .unwrap()
        .pop();
    scene
        .objects
        .replace(&request, target.unwrap(), &leaf("x"))
        .await
        .unwrap();
    drop(request);
    assert_eq!(cv("M/1/").await.as_deref(), Some(first.as_str()));

    replace(&scene, &north(), "M/1/ID", &leaf("x"))
        .await
        .unwrap();
    let second = cv("M/1/").await.unwrap();
    assert_ne!(first, second);
    assert_eq!(read(&scene, &north(), &of_a_leaf).await.unwrap(), ["=0xA1"]);

    // What a plug-in brings along may change by itself.
    let scene = Scene::new(&[("north", FIXED, "read")]).await;
    scene.bench.bring(FIXED, "1", tree(&[("Name", "me")]));
    let request = scene.begin(&north());
    let reading = scene
        .objects
        .read_all(&request, &uri("urn:oma:mo:fixed:1.0//"))
        .await
        .unwrap()
        .pop();
    assert!(matches!(reading, Some(Reading::Data(data)) if data.validator.is_none()));
}

#[tokio::test]
async fn commands_on_one_instance_wait_for_each_other_and_not_for_ever() {
    let scene = moroots().await;
    let first = scene.begin(&north());
    scene
        .objects
        .read_all(&first, &uri("M/1/ID"))
        .await
        .unwrap();
    assert_eq!(read(&scene, &north(), "M/1/ID").await, Err(503));
    assert_eq!(
        read(&scene, &north(), "M/2/ID").await.unwrap(),
        ["=Temperature"]
    );
    // Who has no right cannot take the lock.
    drop(first);
    let stranger = scene.begin(&south());
    assert!(
        scene
            .objects
            .read_all(&stranger, &uri("M/1/ID"))
            .await
            .is_err()
    );
    assert_eq!(read(&scene, &north(), "M/1/ID").await.unwrap(), ["=GPS"]);
}

#[tokio::test]
async fn precedence_goes_first_among_those_that_wait() {
    let scene = Rc::new(moroots().await);
    let tx = scene.store.begin();
    let delegate = scene
        .permissions
        .permit(
            &tx,
            &north(),
            Access::Delegate,
            &Instance::new(MOID, "1"),
            1_000,
        )
        .unwrap();
    let terms = crate::permissions::GrantTerms {
        rights: Access::Read.into(),
        not_after: None,
        priority: 5,
    };
    scene
        .permissions
        .grant(&tx, &delegate, &south(), terms, 1_000)
        .unwrap();
    tx.commit().await.unwrap();

    let holder = scene.begin(&Authority::operator());
    scene
        .objects
        .read_all(&holder, &uri("M/1/ID"))
        .await
        .unwrap();
    let order = Rc::new(std::cell::RefCell::new(Vec::new()));
    let story = async {
        let mut waiting = Vec::new();
        for who in [south(), north(), south()] {
            let (scene, order) = (Rc::clone(&scene), Rc::clone(&order));
            waiting.push(tokio::task::spawn_local(async move {
                read(&scene, &who, "M/1/ID").await.unwrap();
                order.borrow_mut().push(who.to_string());
            }));
            tokio::task::yield_now().await;
        }
        drop(holder);
        for task in waiting {
            task.await.unwrap();
        }
    };
    tokio::task::LocalSet::new().run_until(story).await;
    assert_eq!(*order.borrow(), ["north", "south", "south"]);
}

#[tokio::test]
async fn two_commands_make_two_instances() {
    let scene = Scene::new(&[]).await;
    let (one, other) = (scene.begin(&north()), scene.begin(&south()));
    let mut made = Vec::new();
    for request in [&one, &other] {
        let permit = scene.objects.may_create(request, MOID).unwrap();
        let instance = scene
            .objects
            .create(request, permit, &tree(&[("ID", "a")]))
            .await
            .unwrap();
        made.push(instance.miid);
    }
    assert_eq!(made, ["1", "2"]);
    one.commit().await.unwrap();
    other.commit().await.unwrap();
    for (who, miid) in [(north(), "1"), (south(), "2")] {
        let request = scene.begin(&who);
        let listed = scene.objects.list(&request).await.unwrap();
        let own = listed
            .into_iter()
            .find(|listed| listed.moid == MOID)
            .unwrap();
        assert_eq!(own.miids, [miid]);
    }
}

#[tokio::test]
async fn a_failed_command_leaves_no_trace() {
    let scene = moroots().await;
    scene.bench.script(|call| match &call.operation {
        Operation::Apply { .. } => {
            let error = PluginError::Conflict(Some("not now".into()));
            Some(Err(CallError::Refused {
                plugin: call.plugin.to_string(),
                error,
            }))
        }
        _ => None,
    });
    assert_eq!(
        replace(&scene, &north(), "M/1/ID", &leaf("x")).await,
        Err(409)
    );
    assert_eq!(read(&scene, &north(), "M/1/ID").await.unwrap(), ["=GPS"]);
}
