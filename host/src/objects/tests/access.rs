//! What the description of a type allows, and permits.

use super::*;

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
