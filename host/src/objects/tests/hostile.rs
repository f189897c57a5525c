//! Plug-ins that answer what they must not.

use super::*;

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
