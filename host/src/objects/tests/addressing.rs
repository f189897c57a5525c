//! ClientURIs, and who sees what.

use super::*;

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
