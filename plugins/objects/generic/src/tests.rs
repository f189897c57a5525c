//! Types and instances as an authority and the host make them.

use super::*;
use bailiwick_plugin::LeafValue;
use bailiwick_plugin::testing::{Harness, Namespace, ObjectUnderTest};

/// A type for the tests: routes with a fixed head, and a list with bounds.
const ROUTES: &str = "urn:oma:mo:x-routes:1.0";
const ROUTES_DDF: &str = include_str!("../tests/routes.ddf");

fn harness() -> Harness {
    let harness = Harness::new();
    harness.share_storage(registry::MOID);
    harness
}

fn type_nodes(moid: &str, ddf: &str) -> Vec<Node> {
    vec![
        Node::interior(&[]),
        Node::leaf(&["MOID"], moid),
        Node::leaf(&["DDF"], LeafValue::Xml(ddf.into())),
    ]
}

/// A plug-in that knows `ROUTES`.
fn with_routes(harness: &Harness) -> ObjectUnderTest<Generic> {
    let mut generic = harness.object::<Generic>();
    generic
        .create(registry::MOID, "1", type_nodes(ROUTES, ROUTES_DDF))
        .unwrap();
    generic
}

/// A plug-in with an instance of `ROUTES` that has two routes.
fn with_instance(harness: &Harness) -> ObjectUnderTest<Generic> {
    let mut generic = with_routes(harness);
    let initial = vec![
        Node::interior(&[]),
        Node::leaf(&["Name"], "lab"),
        Node::leaf(&["Route", "b", "Via"], "192.0.2.1"),
        Node::leaf(&["Route", "a", "Via"], "192.0.2.2"),
        Node::leaf(&["Route", "a", "Metric"], 7),
    ];
    generic.create(ROUTES, "1", initial).unwrap();
    generic
}

fn listed(generic: &mut ObjectUnderTest<Generic>) -> Vec<String> {
    let values = generic.values(ROUTES, "1").into_iter();
    values
        .map(|(path, value)| format!("{path}={value}"))
        .collect()
}

#[track_caller]
fn invalid<T: std::fmt::Debug>(result: Result<T>, text: &str) {
    match result {
        Err(Error::InvalidArgument(Some(found))) if found.contains(text) => {}
        other => panic!("a refusal with `{text}` expected, not {other:?}"),
    }
}

const INITIAL: [&str; 6] = [
    "Name=lab",
    "Enabled=true",
    "Route/a/Via=192.0.2.2",
    "Route/a/Metric=7",
    "Route/b/Via=192.0.2.1",
    "Route/b/Metric=100",
];

#[test]
fn a_registered_type_is_a_class() {
    let harness = harness();
    let mut generic = harness.object::<Generic>();
    assert!(generic.classes().unwrap().is_empty());
    generic
        .create(registry::MOID, "1", type_nodes(ROUTES, ROUTES_DDF))
        .unwrap();
    generic
        .create(
            registry::MOID,
            "2",
            type_nodes("com.example.other", MINIMAL),
        )
        .unwrap();
    let classes = generic.classes().unwrap();
    assert_eq!(classes.len(), 2);
    assert_eq!(
        (classes[0].id.as_str(), classes[0].ddf.as_str()),
        (ROUTES, ROUTES_DDF)
    );
    assert_eq!(classes[1].id, "com.example.other");
    assert_eq!(
        generic.read(registry::MOID, "1", "MOID"),
        Ok(vec![Node::leaf(&[], ROUTES)])
    );
    assert_eq!(generic.instances(ROUTES), Ok(Vec::new()));

    generic.restart().unwrap();
    assert_eq!(generic.classes(), Ok(classes));

    generic.delete(registry::MOID, "1").unwrap();
    assert_eq!(generic.classes().unwrap().len(), 1);
    assert_eq!(generic.read(registry::MOID, "1", ""), Err(Error::NotFound));
    assert_eq!(generic.delete(registry::MOID, "1"), Err(Error::NotFound));
}

#[test]
fn a_type_that_cannot_be_served_is_not_registered() {
    let described = ROUTES_DDF;
    for (moid, ddf, text) in [
        (
            "urn:oma:mo:oma-dm-devinfo:1.2",
            MINIMAL,
            "not yours to define",
        ),
        ("URN:oma:mo:OMA-fumo:1.0", MINIMAL, "not yours to define"),
        (
            "urn:oma:mo:x-bailiwick-mo-type:1.0",
            MINIMAL,
            "not yours to define",
        ),
        ("routes", MINIMAL, "is no MOID"),
        ("urn:x/y", MINIMAL, "is no MOID"),
        ("", MINIMAL, "is no MOID"),
        (
            "urn:oma:mo:x-other:1.0",
            described,
            "the DDF describes urn:oma:mo:x-routes:1.0",
        ),
        (ROUTES, "<MgmtTree><Node>", "not the XML"),
        (ROUTES, "{}", "no MgmtTree"),
        (
            ROUTES,
            "<MgmtTree><Node><NodeName>R</NodeName></Node></MgmtTree>",
            "root of the DDF is a leaf",
        ),
        (
            ROUTES,
            &MINIMAL
                .replace("<int/>", "<int/><DefaultValue>x</DefaultValue>")
                .replace(
                    "<int/><DefaultValue>x</DefaultValue></DFFormat>",
                    "<int/></DFFormat><DefaultValue>x</DefaultValue>",
                ),
            "DefaultValue of Leaf",
        ),
    ] {
        let harness = harness();
        let mut generic = harness.object::<Generic>();
        invalid(
            generic.create(registry::MOID, "1", type_nodes(moid, ddf)),
            text,
        );
        assert!(generic.classes().unwrap().is_empty(), "{moid}");
    }
    let mut generic = harness().object::<Generic>();
    let only_moid = vec![Node::interior(&[]), Node::leaf(&["MOID"], ROUTES)];
    invalid(
        generic.create(registry::MOID, "1", only_moid),
        "needs the text DDF",
    );
    let mut odd = type_nodes(ROUTES, ROUTES_DDF);
    odd.push(Node::leaf(&["Colour"], "red"));
    invalid(
        generic.create(registry::MOID, "1", odd),
        "knows no node \"Colour\"",
    );
}

#[test]
fn a_type_is_registered_once_and_stays_as_it_is() {
    let harness = harness();
    let mut generic = with_routes(&harness);
    let again = generic.create(registry::MOID, "2", type_nodes(ROUTES, MINIMAL));
    assert!(matches!(again, Err(Error::Conflict(Some(_)))));
    let change = Change::Put(Node::leaf(&["MOID"], "urn:oma:mo:x-other:1.0"));
    invalid(
        generic.apply(registry::MOID, "1", vec![change]),
        "delete it and create another",
    );
}

#[test]
fn an_instance_gets_what_is_required_and_is_read_in_the_order_of_the_ddf() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    assert_eq!(listed(&mut generic), INITIAL);
    generic.assert_follows(ROUTES_DDF, ROUTES, "1");
    let paths: Vec<String> = generic
        .read(ROUTES, "1", "Route")
        .unwrap()
        .iter()
        .map(|node| node.path.join("/"))
        .collect();
    assert_eq!(
        paths,
        ["", "a", "a/Via", "a/Metric", "b", "b/Via", "b/Metric"]
    );
    assert_eq!(
        generic.read(ROUTES, "1", "Route/a/Metric"),
        Ok(vec![Node::leaf(&[], 7)])
    );
}

#[test]
fn an_instance_without_what_it_must_have_is_not_made() {
    let harness = harness();
    let mut generic = with_routes(&harness);
    for (initial, text) in [
        (vec![Node::interior(&[])], "\"Name\""),
        (
            vec![Node::leaf(&["Name"], 1)],
            "format int, the DDF asks for chr",
        ),
        (
            vec![Node::leaf(&["Name"], "x"), Node::leaf(&["Colour"], "red")],
            "knows no node \"Colour\"",
        ),
        (
            vec![Node::leaf(&["Name"], "x"), Node::interior(&["Route", "a"])],
            "\"Via\"",
        ),
        (
            vec![Node::leaf(&["Name"], "x"), Node::leaf(&["Route"], "flat")],
            "asks for node",
        ),
        (
            vec![Node::leaf(&["Name", "below"], "x")],
            "format node, the DDF asks for chr",
        ),
        (
            vec![Node::leaf(&["Name"], "x"), Node::leaf(&["Hop", ""], "x")],
            "empty name",
        ),
    ] {
        invalid(generic.create(ROUTES, "1", initial), text);
        assert_eq!(
            harness
                .stored(&Namespace::Instance(ROUTES.into(), "1".into()))
                .len(),
            0
        );
    }
}

#[test]
fn changes_are_kept_by_storage_and_not_by_the_sandbox() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    let changes = vec![
        Change::Put(Node::leaf(&["Name"], "field")),
        Change::Delete(vec!["Route".into(), "b".into()]),
        Change::Put(Node::leaf(&["Route", "c", "Via"], "192.0.2.3")),
        Change::Put(Node::leaf(&["Hop", "1"], "gw")),
    ];
    generic.apply(ROUTES, "1", changes).unwrap();
    generic.restart().unwrap();
    let expected = [
        "Name=field",
        "Enabled=true",
        "Route/a/Via=192.0.2.2",
        "Route/a/Metric=7",
        "Route/c/Via=192.0.2.3",
        "Route/c/Metric=100",
        "Hop/1=gw",
    ];
    assert_eq!(listed(&mut generic), expected);
}

#[test]
fn a_change_of_one_leaf_writes_one_key() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    let namespace = Namespace::Instance(ROUTES.into(), "1".into());
    let before = harness.stored(&namespace);
    let change = Change::Put(Node::leaf(&["Route", "a", "Metric"], 8));
    generic.apply(ROUTES, "1", vec![change]).unwrap();
    let after = harness.stored(&namespace);
    let changed: Vec<_> = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(value))
        .collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0].0, "n!Route!a!Metric!");
}

#[test]
fn changes_that_break_the_ddf_change_nothing() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    let put = |path: &[&str], value: LeafValue| Change::Put(Node::leaf(path, value));
    let delete = |path: &[&str]| Change::Delete(path.iter().map(|&name| name.into()).collect());
    for (change, text) in [
        (put(&["Colour"], "red".into()), "knows no node \"Colour\""),
        (
            put(&["Route", "a", "Via"], true.into()),
            "format bool, the DDF asks for chr",
        ),
        (put(&["Route"], "flat".into()), "asks for node"),
        (put(&[], "flat".into()), "asks for node"),
        (Change::Put(Node::interior(&["Name"])), "asks for chr"),
        (
            Change::Put(Node::interior(&["Route", "c"])),
            "has 0 of \"Via\"",
        ),
        (
            put(&["Route", "a", "Via", "x"], "deep".into()),
            "knows no node",
        ),
        (delete(&["Name"]), "has 0 of \"Name\""),
        (delete(&["Route", "a", "Via"]), "has 0 of \"Via\""),
        (delete(&["Route"]), "has 0 of \"Route\""),
        (delete(&[]), "delete the instance instead"),
        (
            put(&["Route", &"x".repeat(600), "Via"], "long".into()),
            "too long",
        ),
    ] {
        let good = Change::Put(Node::leaf(&["Name"], "changed"));
        invalid(generic.apply(ROUTES, "1", vec![good, change]), text);
        assert_eq!(listed(&mut generic), INITIAL);
    }
    let gone = generic.apply(ROUTES, "1", vec![delete(&["Route", "z"])]);
    assert_eq!(gone, Err(Error::NotFound));
}

#[test]
fn unnamed_nodes_occur_as_often_as_the_ddf_says() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    let hop = |name: &str| Change::Put(Node::leaf(&["Hop", name], "gw"));
    generic
        .apply(ROUTES, "1", vec![hop("1"), hop("2")])
        .unwrap();
    invalid(
        generic.apply(ROUTES, "1", vec![hop("3")]),
        "has 3 of \"<x>\"",
    );
    // An existing one is replaced, and one may take the place of another.
    generic.apply(ROUTES, "1", vec![hop("2")]).unwrap();
    let delete = |name: &str| Change::Delete(vec!["Hop".into(), name.into()]);
    generic
        .apply(ROUTES, "1", vec![hop("3"), delete("1")])
        .unwrap();
    invalid(
        generic.apply(ROUTES, "1", vec![delete("2"), delete("3")]),
        "has 0 of \"<x>\"",
    );
    // Without the optional parent there is nothing to count.
    generic
        .apply(ROUTES, "1", vec![Change::Delete(vec!["Hop".into()])])
        .unwrap();
    assert_eq!(listed(&mut generic), INITIAL);
}

#[test]
fn a_subtree_can_be_replaced_in_one_change() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    let changes = vec![
        Change::Delete(vec!["Route".into()]),
        Change::Put(Node::leaf(&["Route", "z", "Via"], "192.0.2.9")),
    ];
    generic.apply(ROUTES, "1", changes).unwrap();
    let expected = [
        "Name=lab",
        "Enabled=true",
        "Route/z/Via=192.0.2.9",
        "Route/z/Metric=100",
    ];
    assert_eq!(listed(&mut generic), expected);
}

#[test]
fn reading_keeps_to_the_options_and_to_whole_names() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    let change = Change::Put(Node::leaf(&["Route", "a b", "Via"], "192.0.2.4"));
    generic.apply(ROUTES, "1", vec![change]).unwrap();
    assert_eq!(generic.read(ROUTES, "1", "Route/a").unwrap().len(), 3);
    assert_eq!(generic.read(ROUTES, "1", "Route/a b").unwrap().len(), 3);
    for missing in ["Route/c", "Hop", "Hop/1", "Colour", "Name/below"] {
        assert_eq!(
            generic.read(ROUTES, "1", missing),
            Err(Error::NotFound),
            "{missing}"
        );
    }
    let options = |max_nodes| ReadOptions {
        max_nodes,
        names_only: true,
    };
    let names = generic
        .read_with(ROUTES, "1", "Route/a", options(3))
        .unwrap();
    assert_eq!(names[0], Node::interior(&[]));
    assert_eq!(names[1], Node::leaf(&["Via"], LeafValue::Null));
    assert_eq!(
        generic.read_with(ROUTES, "1", "Route/a", options(2)),
        Err(Error::TooLarge)
    );
}

#[test]
fn instances_live_apart_and_go_with_their_storage() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    generic
        .create(ROUTES, "2", vec![Node::leaf(&["Name"], "second")])
        .unwrap();
    let change = Change::Put(Node::leaf(&["Name"], "changed"));
    generic.apply(ROUTES, "2", vec![change]).unwrap();
    assert_eq!(listed(&mut generic), INITIAL);
    generic.delete(ROUTES, "2").unwrap();
    assert!(
        harness
            .stored(&Namespace::Instance(ROUTES.into(), "2".into()))
            .is_empty()
    );
    assert!(matches!(
        generic.read(ROUTES, "2", ""),
        Err(Error::Unavailable(Some(_)))
    ));
    assert_eq!(listed(&mut generic), INITIAL);
}

#[test]
fn an_instance_keeps_the_description_that_it_was_made_by() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    generic.delete(registry::MOID, "1").unwrap();
    generic
        .create(registry::MOID, "1", type_nodes(ROUTES, MINIMAL))
        .unwrap();
    generic
        .create(ROUTES, "2", vec![Node::leaf(&["Leaf"], 5)])
        .unwrap();
    assert_eq!(
        generic.values(ROUTES, "2"),
        [("Leaf".to_string(), "5".to_string())]
    );
    assert_eq!(listed(&mut generic), INITIAL);
}

#[test]
fn a_type_that_nobody_registered_says_so() {
    let mut generic = harness().object::<Generic>();
    let refused = generic.create("urn:oma:mo:x-none:1.0", "1", Vec::new());
    let Err(Error::Unavailable(Some(text))) = refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains("not registered"), "{text}");
}

#[test]
fn executable_nodes_are_not_supported() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    let change = Change::Put(Node::leaf(&["Flush"], LeafValue::Null));
    generic.apply(ROUTES, "1", vec![change]).unwrap();
    assert_eq!(
        generic.execute(ROUTES, "1", "Flush"),
        Err(Error::NotSupported)
    );
    assert_eq!(
        generic.execute(ROUTES, "1", "Nothing"),
        Err(Error::NotFound)
    );
}

#[test]
fn a_full_storage_refuses_and_keeps_what_there_was() {
    let harness = harness();
    let mut generic = with_instance(&harness);
    harness.set_quota(6_000);
    let change = Change::Put(Node::leaf(&["Name"], "x".repeat(10_000)));
    assert_eq!(
        generic.apply(ROUTES, "1", vec![change]),
        Err(Error::TooLarge)
    );
    assert_eq!(listed(&mut generic), INITIAL);
}

#[test]
fn ten_thousand_nodes_are_read_whole_and_in_order() {
    let harness = harness();
    let mut generic = with_routes(&harness);
    let mut initial = vec![Node::leaf(&["Name"], "big")];
    for number in 0..3_333 {
        let name = format!("r{number:05}");
        initial.push(Node::leaf(&["Route", &name, "Via"], "192.0.2.1"));
        initial.push(Node::leaf(&["Route", &name, "Metric"], number));
    }
    generic.create(ROUTES, "1", initial).unwrap();
    let nodes = generic.read(ROUTES, "1", "").unwrap();
    assert_eq!(nodes.len(), 4 + 3 * 3_333);
    assert_eq!(nodes[4], Node::interior(&["Route", "r00000"]));
    assert_eq!(
        nodes.last(),
        Some(&Node::leaf(&["Route", "r03332", "Metric"], 3_332))
    );
    let one = generic.read(ROUTES, "1", "Route/r01000/Metric").unwrap();
    assert_eq!(one, [Node::leaf(&[], 1_000)]);
}

/// A root with an integer below it.
const MINIMAL: &str = "<MgmtTree><VerDTD>1.2</VerDTD><Node><NodeName>Min</NodeName><Node><NodeName>Leaf</NodeName>\
    <DFProperties><AccessType><Get/></AccessType><DFFormat><int/></DFFormat></DFProperties></Node></Node></MgmtTree>";
