//! Every requirement in `docs/requirements.md` names the tests that show it, and they exist; or it is listed as open.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(
    dead_code,
    reason = "shared with `architecture`, which needs more of it"
)]
mod rust_source;

use std::collections::BTreeMap;

use bailiwick_tests::root;
use rust_source::Source;

/// The first requirements to be met; the page may never move them back to the open ones.
const MET_FIRST: [&str; 5] = [
    "DM-HLF-001",
    "DM-HLF-003",
    "DM-HLF-009",
    "DM-HLF-016",
    "DM-SEC-001",
];

#[test]
fn every_requirement_names_tests_that_exist() {
    let mut offences = Vec::new();
    for row in rows(&page(), "## Met") {
        if row.tests.is_empty() {
            offences.push(format!("{} names no test", row.label));
        }
        for test in row.tests {
            if let Err(reason) = find_test(&test) {
                offences.push(format!("{}: {test}: {reason}", row.label));
            }
        }
    }
    assert!(
        offences.is_empty(),
        "\n{}\n-> correct docs/requirements.md; a test is written `path/from/root.rs::name`\n",
        offences.join("\n")
    );
}

#[test]
fn every_label_is_listed_once() {
    let page = page();
    let mut listed: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows(&page, "## Met").chain(rows(&page, "## Open")) {
        *listed.entry(row.label).or_default() += 1;
    }
    let functions = (1..=25).map(|number| format!("DM-HLF-{number:03}"));
    let security = (1..=3).map(|number| format!("DM-SEC-{number:03}"));
    let expected = functions.chain(security).map(|label| (label, 1)).collect();
    assert_eq!(
        listed, expected,
        "labels in docs/requirements.md, and how often"
    );
}

#[test]
fn what_was_met_first_stays_met() {
    let met: Vec<_> = rows(&page(), "## Met").map(|row| row.label).collect();
    for label in MET_FIRST {
        assert!(met.iter().any(|found| found == label), "{label} is not met");
    }
}

/// The checks above would be silent if reading the page or the sources went wrong; this shows that it does not.
#[test]
fn the_checks_notice() {
    let page = "## Met\n| label | what | tests |\n|---|---|---|\n\
        | DM-HLF-001 | `x` | `tests/requirements.rs::the_checks_notice`, `tests/none.rs::a` |\n\
        ## Open\n| DM-HLF-002 | y |\n";
    let met: Vec<_> = rows(page, "## Met").collect();
    assert_eq!(met.len(), 1);
    assert_eq!(met[0].label, "DM-HLF-001");
    assert_eq!(met[0].tests.len(), 2);
    assert!(find_test(&met[0].tests[0]).is_ok());
    assert!(find_test(&met[0].tests[1]).is_err());
    assert!(
        find_test("tests/requirements.rs::find_test").is_err(),
        "no test"
    );
    assert!(
        find_test("tests/requirements.rs::the_checks").is_err(),
        "half a name"
    );
    let open: Vec<_> = rows(page, "## Open").map(|row| row.label).collect();
    assert_eq!(open, ["DM-HLF-002"]);
}

struct Row {
    label: String,
    tests: Vec<String>,
}

fn page() -> String {
    std::fs::read_to_string(root().join("docs/requirements.md")).unwrap()
}

/// The rows below `heading` that begin with a label.
fn rows(page: &str, heading: &str) -> impl Iterator<Item = Row> {
    let section = page.split_once(heading).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    section.lines().filter_map(|line| {
        let label = line.strip_prefix("| ")?.split(' ').next()?;
        let is_label = label.starts_with("DM-HLF-") || label.starts_with("DM-SEC-");
        let quoted = line.split('`').skip(1).step_by(2);
        is_label.then(|| Row {
            label: label.to_owned(),
            tests: quoted
                .filter(|word| word.contains("::"))
                .map(str::to_owned)
                .collect(),
        })
    })
}

fn find_test(test: &str) -> Result<(), String> {
    let (path, name) = test.split_once("::").ok_or("it is no `file::name`")?;
    let text = std::fs::read_to_string(root().join(path)).map_err(|error| error.to_string())?;
    let source = Source::new(path, &text);
    let declaration = format!("fn {name}(");
    let mut attributes = Vec::new();
    for line in source.code.lines().map(str::trim) {
        let declares = line
            .split_once(&declaration)
            .is_some_and(|(before, _)| before.is_empty() || before == "async ");
        if declares {
            let is_test = attributes.iter().any(|attribute: &&str| {
                attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test")
            });
            return is_test
                .then_some(())
                .ok_or_else(|| "it is no #[test]".into());
        }
        if line.starts_with("#[") {
            attributes.push(line);
        } else if !line.is_empty() {
            attributes.clear();
        }
    }
    Err("there is no such function".into())
}
