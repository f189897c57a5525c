//! The rules of addressing and access, through the door, against a plug-in of the tests.

use bailiwick_protocol::{MoItem, Node, Value};

use super::testing::*;
use super::*;
use crate::authority::Instance;
use crate::permissions::Access;
use crate::plugins::{CallError, Operation, Output, PluginError};

/// The two instances of the specification's own table, owned by north.
async fn moroots() -> Scene {
    let scene = Scene::new(&[]).await;
    let left = tree(&[
        ("ID", "GPS"),
        ("Setting", "0xA1"),
        ("Data/1/Date", "12.1"),
        ("Data/1/Value", "one"),
        ("Data/2/Date", "12.2"),
        ("Data/2/Value", "two"),
    ]);
    let right = tree(&[
        ("ID", "Temperature"),
        ("Setting", "0xB2"),
        ("Data/1/Date", "12.1"),
        ("Data/1/Value", "three"),
        ("Data/2/Date", "12.2"),
        ("Data/2/Value", "four"),
    ]);
    scene.create(&north(), MOID, &left).await;
    scene.create(&north(), MOID, &right).await;
    scene
}

/// What a ClientURI means, as `miid/path`, or the status.
async fn meaning(
    scene: &Scene,
    who: &Authority,
    text: &str,
    access: Access,
) -> Result<Vec<String>, u16> {
    let request = scene.begin(who);
    let targets = scene.objects.resolve(&request, &uri(text), access).await;
    let targets = targets.map_err(|error| error.status().0)?;
    let text = |target: Target| {
        format!(
            "{}/{}",
            target.permit().instance().miid,
            target.path().join("/")
        )
    };
    Ok(targets.into_iter().map(text).collect())
}

#[tokio::test]
async fn client_uris_mean_what_the_specification_says() {
    let scene = moroots().await;
    // OMA DM 2.0, ClientURI; "left" is instance 1 and "right" is instance 2.
    let rows: [(&str, Result<&[&str], u16>); 27] = [
        ("M/1/", Ok(&["1/"])),
        ("M//", Err(400)),
        ("M/(x)/?nv=(x)/ID:Temperature", Ok(&["2/"])),
        ("M/(x)/ID?nv=(x)/ID:Temperature", Ok(&["2/ID"])),
        ("M/(x)/Data/1/Value?nv=(x)/ID:GPS", Ok(&["1/Data/1/Value"])),
        (
            "M/2/Data/(x)/Value?nv=(x)/Date:12.1",
            Ok(&["2/Data/1/Value"]),
        ),
        (
            "M/(x)/Data/(y)/Value?nv=(x)/ID:GPS&nv=(y)/Date:12.2",
            Ok(&["1/Data/2/Value"]),
        ),
        ("M/*/Setting", Ok(&["1/Setting", "2/Setting"])),
        (
            "M/(x)/Data/*/Value?nv=(x)/ID:GPS",
            Ok(&["1/Data/1/Value", "1/Data/2/Value"]),
        ),
        (
            "M/(x)/Data/*/Value?nv=(x)/ID:GPS&nv=(x)/Setting:0xB2",
            Err(404),
        ),
        (
            "M/*/Data/*/Value",
            Ok(&[
                "1/Data/1/Value",
                "1/Data/2/Value",
                "2/Data/1/Value",
                "2/Data/2/Value",
            ]),
        ),
        // Beyond the table.
        ("M/(x)/?nv=(x)/Data/1/Date:12.1", Err(400)),
        ("M/(x)/?nv=(x)/Data/1/Value:three", Ok(&["2/"])),
        ("M/(x)/?nv=(x)/Data:", Err(404)),
        ("M/(x)/?nv=(x)/Nothing:1", Err(404)),
        ("M/1/Data/(x)?nv=(x)/Date:12.3", Err(404)),
        (
            "M/1/Data/(x)?nv=(x)/Date:12.1&nv=(x)/Value:one",
            Ok(&["1/Data/1"]),
        ),
        ("M/1/Data/(x)?nv=(x)/Date:12.1&nv=(x)/Value:two", Err(404)),
        (
            "M/*/Data/(x)/Value?nv=(x)/Value:two",
            Ok(&["1/Data/2/Value"]),
        ),
        ("M/1/*", Ok(&["1/Data", "1/ID", "1/Setting"])),
        ("M/1/*/1/Date", Ok(&["1/Data/1/Date"])),
        (
            "M/1/*/1/*",
            Ok(&["1/Data/1/Date", "1/Data/1/Note", "1/Data/1/Value"]),
        ),
        ("M/1/Nothing/*", Err(404)),
        ("M/1/Setting/*", Err(404)),
        ("M/3/", Err(404)),
        ("M/*/?cv=1", Ok(&["1/", "2/"])),
        ("urn:oma:mo:unknown:1.0//", Err(403)),
    ];
    for (text, expected) in rows {
        let expected = expected.map(|paths| paths.iter().map(|p| (*p).to_owned()).collect());
        assert_eq!(
            meaning(&scene, &north(), text, Access::Read).await,
            expected,
            "{text}"
        );
    }
}

#[tokio::test]
async fn what_an_authority_may_not_see_does_not_exist_for_it() {
    let scene = moroots().await;
    for text in [
        "M/1/",
        "M//",
        "M/*/",
        "M/*/Setting",
        "M/(x)/?nv=(x)/ID:GPS",
        "M/9/",
    ] {
        for access in [Access::Read, Access::Write, Access::Execute] {
            assert_eq!(
                meaning(&scene, &south(), text, access).await,
                Err(404),
                "{text}"
            );
        }
    }
    // With one of its own, that one is the only one.
    scene.create(&south(), MOID, &tree(&[("ID", "GPS")])).await;
    for text in ["M//", "M/*/", "M/(x)/?nv=(x)/ID:GPS"] {
        let meant = meaning(&scene, &south(), text, Access::Read).await;
        assert_eq!(meant, Ok(vec!["3/".to_owned()]), "{text}");
    }
}

#[tokio::test]
async fn conditions_need_read_and_see_no_node_without_get() {
    let scene = Scene::new(&[("north", FIXED, "execute+write"), ("south", FIXED, "read")]).await;
    scene.bench.bring(FIXED, "1", tree(&[("Name", "me")]));
    let asked = format!("{FIXED}/(x)/?nv=(x)/Name:me");
    assert_eq!(
        meaning(&scene, &south(), &asked, Access::Read).await,
        Ok(vec!["1/".to_owned()])
    );
    assert_eq!(
        meaning(&scene, &north(), &asked, Access::Write).await,
        Err(404)
    );
    assert_eq!(
        meaning(&scene, &north(), &format!("{FIXED}//"), Access::Read).await,
        Err(403)
    );

    let scene = Scene::new(&[]).await;
    let hidden = tree(&[("ID", "a"), ("Secret", "s"), ("Hidden/Key", "k")]);
    scene.create(&north(), MOID, &hidden).await;
    for condition in ["Secret:s", "Hidden/Key:k"] {
        let asked = format!("M/(x)/?nv=(x)/{condition}");
        assert_eq!(
            meaning(&scene, &north(), &asked, Access::Read).await,
            Err(404),
            "{condition}"
        );
    }
}

#[tokio::test]
async fn a_wildcard_means_what_may_be_accessed() {
    let scene = Scene::new(&[("north", FIXED, "read")]).await;
    scene.bench.bring(FIXED, "1", tree(&[("Name", "device's")]));
    let both = format!("{FIXED}/*/");
    assert_eq!(
        meaning(&scene, &north(), &both, Access::Read).await,
        Ok(vec!["1/".to_owned()])
    );
    assert_eq!(
        meaning(&scene, &north(), &both, Access::Write).await,
        Err(403)
    );
}

/// Reads one node; its leaves as `path=text`, or the status.
async fn read(scene: &Scene, who: &Authority, text: &str) -> Result<Vec<String>, u16> {
    let request = scene.begin(who);
    let readings = scene.objects.read_all(&request, &uri(text)).await;
    let readings = readings.map_err(|error| error.status().0)?;
    request.commit().await.unwrap();
    let mut leaves = Vec::new();
    for reading in readings {
        match reading {
            Reading::NotModified => leaves.push("not modified".to_owned()),
            Reading::Data(data) => {
                for Node { path, value } in data.nodes {
                    let value = value.map(|value| value.as_text());
                    leaves.extend(value.map(|value| format!("{}={value}", path.join("/"))));
                }
            }
        }
    }
    Ok(leaves)
}

#[tokio::test]
async fn nodes_without_get_never_leave_the_device() {
    let scene = Scene::new(&[]).await;
    let all = tree(&[
        ("ID", "a"),
        ("Secret", "s"),
        ("Hidden/Key", "k"),
        ("Setting", "x"),
    ]);
    scene.create(&north(), MOID, &all).await;
    let rows: [(&str, Result<&[&str], u16>); 8] = [
        ("M//", Ok(&["ID=a", "Setting=x"])),
        ("M/1/*", Ok(&["=a", "=x"])),
        ("M/1/Secret", Err(405)),
        ("M/*/Secret", Err(405)),
        ("M/1/Hidden", Err(405)),
        ("M/1/Hidden/Key", Err(405)),
        ("M/1/Hidden/*", Err(405)),
        ("M/1/Start", Err(405)),
    ];
    for (text, expected) in rows {
        let expected = expected.map(|leaves| leaves.iter().map(|l| (*l).to_owned()).collect());
        assert_eq!(read(&scene, &north(), text).await, expected, "{text}");
    }
}

/// Replaces what is at a node; the status.
async fn replace(scene: &Scene, who: &Authority, text: &str, nodes: &[Node]) -> Result<(), u16> {
    let request = scene.begin(who);
    let targets = scene
        .objects
        .resolve(&request, &uri(text), Access::Write)
        .await;
    let target = targets.map_err(|error| error.status().0)?.pop().unwrap();
    let done = scene.objects.replace(&request, target, nodes).await;
    done.map_err(|error| error.status().0)?;
    request.commit().await.unwrap();
    Ok(())
}

async fn delete(scene: &Scene, who: &Authority, text: &str) -> Result<(), u16> {
    let request = scene.begin(who);
    let done = scene.objects.delete_all(&request, &uri(text)).await;
    done.map_err(|error| error.status().0)?;
    request.commit().await.unwrap();
    Ok(())
}

#[tokio::test]
async fn the_description_bounds_every_write() {
    let data = |leaves: &[(&str, &str)]| tree(leaves);
    let rows: Vec<(&str, Vec<Node>, Result<(), u16>)> = vec![
        ("M/1/ID", leaf("b"), Ok(())),
        ("M/1/Setting", leaf("y"), Ok(())),
        ("M/1/State", leaf("idle"), Ok(())),
        ("M/1/State", leaf("busy"), Err(405)),
        ("M/1/Secret", leaf("new"), Ok(())),
        ("M/1/Hidden/Key", leaf("new"), Ok(())),
        ("M/1/Start", leaf("x"), Err(400)),
        ("M/1/Nothing", leaf("x"), Err(404)),
        ("M/1/ID", data(&[]), Err(400)),
        ("M/1/Data", leaf("x"), Err(400)),
        (
            "M/1/ID",
            vec![Node {
                path: vec![],
                value: Some(Value::Int(1)),
            }],
            Err(400),
        ),
        ("M/1/Data/9", data(&[("Date", "d")]), Ok(())),
        ("M/1/Data/9", data(&[("Value", "v")]), Err(400)),
        (
            "M/1/Data/9",
            data(&[("Date", "d"), ("Other", "v")]),
            Err(400),
        ),
        ("M/1/Data/9/Value", leaf("v"), Err(400)),
        ("M/1/Data/1/Value", leaf("v"), Ok(())),
        ("M/1/Data/1/Date", leaf("v"), Ok(())),
        ("M/1/List", data(&[("a", "1")]), Err(405)),
        ("M/1/", data(&[("ID", "b"), ("Data/1/Date", "d")]), Ok(())),
        ("M/1/", data(&[("ID", "b"), ("State", "busy")]), Err(405)),
        ("M/1/", data(&[("ID", "b"), ("State", "idle")]), Ok(())),
    ];
    for (text, nodes, expected) in rows {
        let scene = Scene::new(&[]).await;
        let before = tree(&[
            ("ID", "a"),
            ("State", "idle"),
            ("Secret", "s"),
            ("Hidden/Key", "k"),
            ("Data/1/Date", "12.1"),
        ]);
        scene.create(&north(), MOID, &before).await;
        let done = replace(&scene, &north(), text, &nodes).await;
        assert_eq!(done, expected, "{text} := {nodes:?}");
    }
}

#[tokio::test]
async fn replacing_takes_away_what_may_be_deleted_and_keeps_the_rest() {
    let scene = moroots().await;
    let new = tree(&[
        ("ID", "new"),
        ("Data/2/Date", "12.2"),
        ("Data/3/Date", "12.3"),
    ]);
    replace(&scene, &north(), "M/1/", &new).await.unwrap();
    let now = read(&scene, &north(), "M/1/").await.unwrap();
    assert_eq!(
        now,
        [
            "Data/2/Date=12.2",
            "Data/2/Note=none",
            "Data/3/Date=12.3",
            "Data/3/Note=none",
            "ID=new",
        ]
    );
    assert_eq!(
        read(&scene, &north(), "M/2/ID").await.unwrap(),
        ["=Temperature"]
    );

    // A value that is there already is not written again.
    scene.bench.asked();
    replace(&scene, &north(), "M/1/ID", &leaf("new"))
        .await
        .unwrap();
    assert!(
        !scene
            .bench
            .asked()
            .iter()
            .any(|call| call.contains("Apply"))
    );
}

#[tokio::test]
async fn the_description_bounds_every_deletion() {
    let scene = Scene::new(&[("north", FIXED, "read+write")]).await;
    scene.bench.bring(FIXED, "1", tree(&[("Name", "me")]));
    let before = tree(&[
        ("ID", "a"),
        ("Setting", "x"),
        ("Data/1/Date", "d"),
        ("List/a", "1"),
        ("List/b", "2"),
    ]);
    scene.create(&north(), MOID, &before).await;
    let rows = [
        ("M/1/ID", Err(405)),
        ("M/1/Data", Err(405)),
        ("M/1/Data/1/Date", Err(405)),
        ("M/1/Data/1", Ok(())),
        ("M/1/Data/1", Err(404)),
        ("M/1/Setting", Ok(())),
        ("M/*/Setting", Err(404)),
        ("M/1/Nothing", Err(404)),
        ("M/1/List/a", Ok(())),
        ("M/1/List/b", Err(400)),
        ("urn:oma:mo:fixed:1.0//", Err(405)),
        ("M/1/", Ok(())),
        ("M/1/", Err(404)),
    ];
    for (text, expected) in rows {
        assert_eq!(delete(&scene, &north(), text).await, expected, "{text}");
    }
}

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
async fn executable_nodes_run_and_others_do_not() {
    let scene = Scene::new(&[]).await;
    scene.create(&north(), MOID, &tree(&[("ID", "a")])).await;
    let rows = [
        ("M/1/Start", Ok(crate::plugins::ExecOutcome::Started)),
        ("M//Stop", Ok(crate::plugins::ExecOutcome::Completed)),
        (
            "M/(x)/Start?nv=(x)/ID:a",
            Ok(crate::plugins::ExecOutcome::Started),
        ),
        ("M/1/ID", Err(405)),
        ("M/1/", Err(405)),
        ("M/1/Nothing", Err(404)),
    ];
    for (text, expected) in rows {
        let request = scene.begin(&north());
        let outcome = scene.objects.execute_one(&request, &uri(text)).await;
        assert_eq!(
            outcome.map_err(|error| error.status().0),
            expected,
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_permit_serves_only_what_it_is_for() {
    let scene = moroots().await;
    let request = scene.begin(&north());
    let mut targets = scene
        .objects
        .resolve(&request, &uri("M/1/Setting"), Access::Read)
        .await
        .unwrap();
    let target = targets.pop().unwrap();
    let error = scene
        .objects
        .replace(&request, target, &leaf("x"))
        .await
        .unwrap_err();
    assert!(matches!(error, ObjectError::WrongPermit { .. }), "{error}");
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
async fn items_find_their_place() {
    let item = |client_uri: Option<&str>, name: &str, nodes: &[Node]| {
        let uri = client_uri.map(|text| uri(text).to_string());
        let item = MoItem::from_nodes(String::new(), name, nodes, None);
        MoItem {
            client_uri: uri,
            ..item
        }
    };
    let object = || tree(&[("ID", "new")]);
    type Row = (
        Option<&'static str>,
        MoItem,
        Result<(&'static str, bool), u16>,
    );
    let rows: Vec<Row> = vec![
        // The device chooses.
        (None, item(Some("M//"), "MO", &object()), Ok(("M/3/", true))),
        (
            None,
            item(Some("M/1/"), "MO", &object()),
            Ok(("M/1/", false)),
        ),
        (
            None,
            item(Some("M/1/ID"), "ID", &leaf("x")),
            Ok(("M/1/ID", false)),
        ),
        (None, item(Some("M/9/"), "MO", &object()), Err(404)),
        (None, item(Some("M/*/"), "MO", &object()), Err(400)),
        (None, item(None, "MO", &object()), Err(400)),
        // The server chooses.
        (
            Some("M/2/"),
            item(None, "MO", &object()),
            Ok(("M/2/", false)),
        ),
        (
            Some("M/2/"),
            item(Some("M/1/"), "MO", &object()),
            Ok(("M/2/", false)),
        ),
        (Some("M//"), item(None, "MO", &object()), Err(400)),
        (Some("M/9/"), item(None, "MO", &object()), Err(404)),
        (
            Some("M/2/Data/7"),
            item(None, "7", &tree(&[("Date", "d")])),
            Ok(("M/2/Data/7", false)),
        ),
        (
            Some("M/2/ID"),
            item(None, "7", &tree(&[("Date", "d")])),
            Err(400),
        ),
    ];
    for (place, item, expected) in rows {
        let scene = moroots().await;
        let request = scene.begin(&north());
        let place = place.map(uri);
        let placed = scene.objects.store(&request, place.as_ref(), &item).await;
        let placed = placed
            .map(|placed| (placed.uri.to_string(), placed.created))
            .map_err(|error| error.status().0);
        let expected = expected.map(|(text, created)| (uri(text).to_string(), created));
        assert_eq!(placed, expected, "{place:?} {item:?}");
    }
    // With none there, the only instance is made.
    let scene = Scene::new(&[]).await;
    let request = scene.begin(&north());
    let placed = scene
        .objects
        .store(&request, Some(&uri("M//")), &item(None, "MO", &object()))
        .await;
    assert_eq!(
        placed.unwrap(),
        Placed {
            uri: uri("M/1/"),
            created: true
        }
    );
}

#[tokio::test]
async fn hostile_trees_are_faults_of_the_plug_in() {
    let node = |path: &str, value: Option<Value>| Node {
        path: path
            .split('/')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
        value,
    };
    let chr = |text: &str| Some(Value::Chr(text.to_owned()));
    let root = || node("", None);
    let many = || (0..100).map(|n| node(&format!("Data/{n}"), None));
    let deep = || Node {
        path: vec!["Data".to_owned(); 40],
        value: None,
    };
    let rows: Vec<(&str, Vec<Node>)> = vec![
        ("nothing", vec![]),
        ("not from the start", vec![node("ID", chr("a"))]),
        ("two starts", vec![root(), root()]),
        (
            "too many",
            [root(), node("Data", None)]
                .into_iter()
                .chain(many())
                .collect(),
        ),
        ("too deep", vec![root(), deep()]),
        (
            "an empty name",
            vec![
                root(),
                Node {
                    path: vec![String::new()],
                    value: chr("a"),
                },
            ],
        ),
        (
            "a dotted name",
            vec![root(), node("Data", None), node("Data/..", None)],
        ),
        (
            "a control character",
            vec![root(), node("Data", None), node("Data/a\u{7}", None)],
        ),
        (
            "a long name",
            vec![
                root(),
                node("Data", None),
                node(&format!("Data/{}", "x".repeat(256)), None),
            ],
        ),
        (
            "twice",
            vec![root(), node("ID", chr("a")), node("ID", chr("a"))],
        ),
        ("no parent", vec![root(), node("Data/1", None)]),
        (
            "below a leaf",
            vec![root(), node("ID", chr("a")), node("ID/b", chr("a"))],
        ),
        (
            "not in pre-order",
            vec![
                root(),
                node("Data", None),
                node("Data/1", None),
                node("ID", chr("a")),
                node("Data/1/Date", chr("d")),
            ],
        ),
        ("unknown", vec![root(), node("Nothing", chr("a"))]),
        ("a value at the root", vec![node("", chr("a"))]),
        ("a leaf without value", vec![root(), node("ID", None)]),
        (
            "a value with children",
            vec![root(), node("Data", chr("a"))],
        ),
        (
            "another format",
            vec![root(), node("ID", Some(Value::Int(1)))],
        ),
        (
            "a giant",
            vec![root(), node("ID", chr(&"x".repeat((4 << 20) + 1)))],
        ),
    ];
    for (what, nodes) in rows {
        let scene = moroots().await;
        scene.bench.script(move |call| match &call.operation {
            Operation::Read { .. } => Some(Ok(Output::Nodes(nodes.clone()))),
            _ => None,
        });
        let request = scene.begin(&north());
        let error = scene
            .objects
            .read_all(&request, &uri("M/1/"))
            .await
            .expect_err(what);
        assert_eq!(error.status().0, 500, "{what}: {error}");
        assert!(
            error.to_string().starts_with("plug-in trees is faulty: "),
            "{what}: {error}"
        );
        drop(request);
        // A write looks at the tree too, and does not get far.
        assert_eq!(
            replace(&scene, &north(), "M/1/ID", &leaf("x")).await,
            Err(500),
            "{what}"
        );
    }
}

#[tokio::test]
async fn other_answers_are_faults_too() {
    let scene = moroots().await;
    scene.bench.script(|call| match &call.operation {
        Operation::Apply { .. } | Operation::Read { .. } => Some(Ok(Output::Instances(vec![]))),
        Operation::Execute { .. } => Some(Ok(Output::Done)),
        _ => None,
    });
    assert_eq!(read(&scene, &north(), "M/1/").await, Err(500));
    let request = scene.begin(&north());
    let error = scene
        .objects
        .execute_one(&request, &uri("M/1/Start"))
        .await
        .unwrap_err();
    assert_eq!(error.status().0, 500);
    drop(request);

    for miids in [vec!["a", "a"], vec![""], vec!["."], vec!["x"; 100]] {
        let miids: Vec<String> = miids.into_iter().map(str::to_owned).collect();
        scene.bench.script(move |call| match &call.operation {
            Operation::Instances { .. } => Some(Ok(Output::Instances(miids.clone()))),
            _ => None,
        });
        assert_eq!(read(&scene, &north(), "M/*/").await, Err(500));
        // It spoils the listing of its own instances and no more.
        let request = scene.begin(&north());
        let listed = scene.objects.list(&request).await.unwrap();
        let own = listed
            .into_iter()
            .find(|listed| listed.moid == MOID)
            .unwrap();
        assert_eq!(own.miids, ["1", "2"]);
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

#[tokio::test]
async fn dynamic_types_come_with_what_makes_them() {
    let scene = Scene::new(&[]).await;
    let dynamic = "urn:x:dynamic:1.0";
    let place = uri(&format!("{dynamic}//"));
    scene.bench.offer(dynamic, &ddf_with_leaf("Old"));
    scene.bench.offer(MOID, &ddf_with_leaf("Shadow"));
    scene.bench.offer("urn:x:broken:1.0", "<MgmtTree");
    assert_eq!(
        meaning(&scene, &north(), &place.to_string(), Access::Read).await,
        Err(404)
    );

    // The type is there with the instance that makes it, for the command itself already.
    let request = scene.begin(&north());
    let permit = scene.objects.may_create(&request, META).unwrap();
    let shape = tree(&[("ID", &format!("{dynamic} {MOID} urn:x:broken:1.0"))]);
    scene
        .objects
        .create(&request, permit, &shape)
        .await
        .unwrap();
    assert!(
        scene
            .objects
            .served(&request, dynamic)
            .await
            .unwrap()
            .dynamic
    );
    drop(request);
    assert_eq!(
        meaning(&scene, &north(), &place.to_string(), Access::Read).await,
        Err(404)
    );
    scene.create(&north(), META, &shape).await;

    let request = scene.begin(&north());
    let served = scene.objects.served(&request, dynamic).await.unwrap();
    assert_eq!((&*served.class.plugin, served.dynamic), ("shapes", true));
    let served = scene.objects.served(&request, MOID).await.unwrap();
    assert_eq!(
        (&*served.class.plugin, served.dynamic),
        ("trees", false),
        "no shadows"
    );
    drop(request);

    // Asked once, then known; asked again after a write.
    scene.bench.asked();
    let asks = || {
        scene
            .bench
            .asked()
            .iter()
            .filter(|call| call.contains("Classes"))
            .count()
    };
    for _ in 0..3 {
        let request = scene.begin(&north());
        scene.objects.served(&request, dynamic).await.unwrap();
    }
    assert_eq!(asks(), 0);
    replace(
        &scene,
        &north(),
        &format!("{META}//ID"),
        &leaf(&format!("{dynamic} again")),
    )
    .await
    .unwrap();
    for _ in 0..3 {
        let request = scene.begin(&north());
        scene.objects.served(&request, dynamic).await.unwrap();
    }
    assert_eq!(asks(), 1);

    // An instance keeps the description that it was made by.
    let instance = scene
        .create(&north(), dynamic, &tree(&[("Old", "v")]))
        .await;
    let namespace = crate::plugins::imports::storage::Namespace::instance("shapes", &instance);
    let kept = namespace
        .get(&scene.store.begin(), DDF_KEY)
        .unwrap()
        .unwrap();
    assert_eq!(kept, ddf_with_leaf("Old").as_bytes());
    scene.bench.offer(dynamic, &ddf_with_leaf("New"));
    replace(
        &scene,
        &north(),
        &format!("{META}//ID"),
        &leaf(&format!("{dynamic} anew")),
    )
    .await
    .unwrap();
    assert_eq!(
        read(&scene, &north(), &place.to_string()).await.unwrap(),
        ["Old=v"]
    );
    let request = scene.begin(&north());
    let permit = scene.objects.may_create(&request, dynamic).unwrap();
    let error = scene
        .objects
        .create(&request, permit, &tree(&[("Old", "v")]))
        .await
        .unwrap_err();
    assert_eq!(error.status().0, 400);
}

#[tokio::test]
async fn a_plug_in_that_cannot_be_asked_is_not_a_missing_type() {
    let scene = Scene::new(&[]).await;
    scene.bench.script(|call| match &call.operation {
        Operation::Classes => Some(Err(CallError::Busy {
            plugin: call.plugin.to_string(),
        })),
        _ => None,
    });
    let request = scene.begin(&north());
    let error = scene
        .objects
        .served(&request, "urn:x:dynamic:1.0")
        .await
        .unwrap_err();
    assert_eq!(error.status().0, 503);
    assert!(scene.objects.served(&request, MOID).await.is_ok());
    assert_eq!(scene.objects.list(&request).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_journal_names_every_decision_once() {
    let scene = moroots().await;
    let request = scene.begin(&north());
    scene
        .objects
        .read_all(&request, &uri("M/1/ID"))
        .await
        .unwrap();
    scene
        .objects
        .read_all(&request, &uri("M/1/Setting"))
        .await
        .unwrap();
    let denied = scene
        .objects
        .read_all(&request, &uri("urn:oma:mo:fixed:1.0/1/"))
        .await;
    assert!(denied.is_err());
    let journal = request.journal();
    let decisions: Vec<_> = journal
        .decisions
        .iter()
        .map(|decision| (decision.on.as_str(), decision.access, decision.allowed))
        .collect();
    let first = format!("{MOID}/1/");
    let second = format!("{FIXED}/1/");
    assert_eq!(
        decisions,
        [
            (first.as_str(), "read", true),
            (second.as_str(), "read", false),
        ]
    );
    assert_eq!(journal.decisions[0].rule, "owner of the instance");
    assert!(journal.plugins.contains("trees"));
}
