//! What the authority does to the device: commands in an order, and what is there after each.
//!
//! The object is a type without code. `First` and `Second` of an instance are always written together and always
//! equal, so that half of a command is seen as such; so are two instances that one command writes.

use std::collections::BTreeMap;

use bailiwick_protocol::{ClientUri, Command};
use serde_json::{Map, Value, json};

use super::random::Random;

/// The type of the instances.
pub(crate) const MOID: &str = "urn:example:mo:crash:1.0";
/// The type of types.
pub(crate) const TYPE: &str = "urn:oma:mo:x-bailiwick-mo-type:1.0";
/// What the account permits.
pub(crate) const PERMITTED: [&str; 2] = [MOID, TYPE];

/// What is there: instances by `Name`.
pub(crate) type State = BTreeMap<String, Content>;

/// What an instance holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// `First` and `Second`.
    pub(crate) pair: String,
    /// `Items`.
    pub(crate) items: BTreeMap<String, String>,
}

/// One command.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Adds the type.
    Type,
    /// Makes instances.
    Create(Vec<(&'static str, Content)>),
    /// Replaces the content of instances, all by one command.
    Replace(Vec<(&'static str, Content)>),
    /// Adds an item to an instance, or replaces it.
    Put(&'static str, &'static str, String),
    /// Takes an item away.
    Take(&'static str, &'static str),
    /// Deletes an instance.
    Delete(&'static str),
}

impl Step {
    /// What is there afterwards.
    pub(crate) fn apply(&self, state: &mut State) {
        match self {
            Step::Type => {}
            Step::Create(instances) | Step::Replace(instances) => {
                let instances = instances.iter().cloned();
                state.extend(instances.map(|(name, content)| (name.to_owned(), content)));
            }
            Step::Put(name, item, value) => {
                if let Some(content) = state.get_mut(*name) {
                    content.items.insert((*item).to_owned(), value.clone());
                }
            }
            Step::Take(name, item) => {
                if let Some(content) = state.get_mut(*name) {
                    content.items.remove(*item);
                }
            }
            Step::Delete(name) => {
                state.remove(*name);
            }
        }
    }

    /// The command, and what it fetches from the repository, whose URI is given with the name of the resource.
    pub(crate) fn command(&self, resource: &str) -> (Command, Option<Value>) {
        let fetch = |place: Option<ClientUri>, data: Value| {
            let command = Command::HGet {
                server_uri: resource.to_owned(),
                client_uri: place,
            };
            (command, Some(data))
        };
        let item = |uri: String, content: Value| json!({ "ClientURI": uri, "MOData": { "Thing": content } });
        match self {
            Step::Type => {
                let data = json!({ "MOType": { "MOID": MOID, "DDF": DDF } });
                fetch(
                    None,
                    json!([{ "ClientURI": format!("{TYPE}//"), "MOData": data }]),
                )
            }
            Step::Create(instances) => {
                let items = instances
                    .iter()
                    .map(|(name, content)| item(format!("{MOID}//"), content.to_json(name)));
                fetch(None, items.collect())
            }
            Step::Replace(instances) => {
                let items = instances
                    .iter()
                    .map(|(name, content)| item(place(name, ""), content.to_json(name)));
                fetch(None, items.collect())
            }
            Step::Put(name, key, value) => {
                let data = Map::from_iter([((*key).to_owned(), json!(value))]);
                fetch(
                    uri(name, &format!("Items/{key}")),
                    json!([{ "MOData": data }]),
                )
            }
            Step::Take(name, key) => delete(uri(name, &format!("Items/{key}"))),
            Step::Delete(name) => delete(uri(name, "")),
        }
    }
}

fn delete(place: Option<ClientUri>) -> (Command, Option<Value>) {
    let client_uri = place.expect("a ClientURI that is written here");
    (Command::Delete { client_uri }, None)
}

fn uri(name: &str, path: &str) -> Option<ClientUri> {
    ClientUri::parse(&place(name, path)).ok()
}

/// The device chooses the names of instances, so they are found by what they hold.
fn place(name: &str, path: &str) -> String {
    format!("{MOID}/(x)/{path}?nv=(x)/Name:{name}")
}

impl Content {
    fn new(seed: u64, length: usize, items: &[&str]) -> Self {
        let mut random = Random::new(seed);
        let mut text = |length: usize| -> String {
            let letter = |_| char::from(b'a' + random.below(26) as u8);
            (0..length).map(letter).collect()
        };
        let items = items
            .iter()
            .map(|item| ((*item).to_owned(), text(length / 4)))
            .collect();
        Self {
            pair: text(length),
            items,
        }
    }

    fn to_json(&self, name: &str) -> Value {
        json!({ "Name": name, "First": self.pair, "Second": self.pair, "Items": self.items })
    }

    /// Reads an instance; its halves must be equal.
    fn from_json(data: &Value) -> Result<(String, Self), String> {
        let thing = &data["MOData"]["Thing"];
        let text = |name: &str| thing[name].as_str().unwrap_or_default().to_owned();
        if text("First") != text("Second") {
            return Err(format!(
                "half of a command: First and Second of {} differ",
                text("Name")
            ));
        }
        let items = thing["Items"].as_object().into_iter().flatten();
        let items =
            items.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
        Ok((
            text("Name"),
            Self {
                pair: text("First"),
                items: items.collect(),
            },
        ))
    }
}

/// Reads what `Get` gives for all instances. Two of one name are an error.
pub(crate) fn read(items: &Value) -> Result<State, String> {
    let mut state = State::new();
    for item in items.as_array().into_iter().flatten() {
        let (name, content) = Content::from_json(item)?;
        if let Some(_twice) = state.insert(name.clone(), content) {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(state)
}

/// The commands of the recorded sessions: each kind of change, small ones and some that fill many pages.
pub(crate) fn steps() -> Vec<Step> {
    let content = Content::new;
    let text = |seed, length| content(seed, length, &[]).pair;
    vec![
        Step::Type,
        Step::Create(vec![("a", content(1, 100, &["one", "two"]))]),
        Step::Create(vec![
            ("b", content(2, 3_000, &[])),
            ("c", content(3, 50, &["one"])),
        ]),
        Step::Put("a", "three", text(4, 400)),
        Step::Replace(vec![("a", content(5, 200, &["one"]))]),
        Step::Replace(vec![
            ("b", content(6, 100, &["x", "y"])),
            ("c", content(7, 6_000, &[])),
        ]),
        Step::Delete("a"),
        Step::Take("b", "x"),
        Step::Create(vec![("d", content(8, 30_000, &["one", "two", "three"]))]),
        // The daemon is stopped and started here.
        Step::Put("d", "four", text(9, 20)),
        Step::Replace(vec![
            ("c", content(10, 80, &["p"])),
            ("d", content(11, 90, &["q"])),
        ]),
        Step::Create(vec![("e", content(12, 500, &[]))]),
        Step::Delete("b"),
        Step::Put("e", "one", text(13, 2_000)),
        Step::Replace(vec![("e", content(14, 20_000, &["one", "two"]))]),
        Step::Delete("d"),
    ]
}

/// How many of [`steps`] are run before the daemon is stopped and started again.
pub(crate) const BEFORE_RESTART: usize = 9;

/// Random changes, without end, that do no harm when they are run twice: a kill may keep a status from arriving.
pub(crate) fn random_step(number: u64, seed: u64) -> Step {
    let mut random = Random::new(seed ^ number.wrapping_mul(0x1_0001));
    let mut names = ["a", "b", "c"];
    random.choose(&mut names, 2);
    let item = ["one", "two", "three"][random.below(3) as usize];
    let length = [20, 300, 2_000][random.below(3) as usize];
    let mut content = || Content::new(random.next(), length, &[item]);
    match number % 3 {
        0 => Step::Put(names[0], item, content().pair),
        1 => Step::Replace(vec![(names[0], content()), (names[1], content())]),
        _ => Step::Replace(vec![(names[0], content())]),
    }
}

/// What [`random_step`] works on.
pub(crate) fn first_steps() -> Vec<Step> {
    let instance = |name, seed| (name, Content::new(seed, 100, &[]));
    vec![
        Step::Type,
        Step::Create(vec![instance("a", 1), instance("b", 2), instance("c", 3)]),
    ]
}

const DDF: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE MgmtTree PUBLIC "-//OMA//DTD-DM-DDF 1.2//EN" "http://www.openmobilealliance.org/tech/DTD/DM_DDF-V1_2.dtd">
<MgmtTree>
  <VerDTD>1.2</VerDTD>
  <Node>
    <NodeName>Thing</NodeName>
    <DFProperties>
      <AccessType><Get/><Replace/><Delete/></AccessType>
      <DFFormat><node/></DFFormat>
      <Occurrence><ZeroOrMore/></Occurrence>
      <Scope><Dynamic/></Scope>
      <DFType><DDFName>urn:example:mo:crash:1.0</DDFName></DFType>
    </DFProperties>
    <Node>
      <NodeName>Name</NodeName>
      <DFProperties>
        <AccessType><Get/><Replace/></AccessType>
        <DFFormat><chr/></DFFormat>
        <Occurrence><One/></Occurrence>
        <Scope><Permanent/></Scope>
        <DFType><MIME>text/plain</MIME></DFType>
      </DFProperties>
    </Node>
    <Node>
      <NodeName>First</NodeName>
      <DFProperties>
        <AccessType><Get/><Replace/></AccessType>
        <DFFormat><chr/></DFFormat>
        <Occurrence><One/></Occurrence>
        <Scope><Permanent/></Scope>
        <DFType><MIME>text/plain</MIME></DFType>
      </DFProperties>
    </Node>
    <Node>
      <NodeName>Second</NodeName>
      <DFProperties>
        <AccessType><Get/><Replace/></AccessType>
        <DFFormat><chr/></DFFormat>
        <Occurrence><One/></Occurrence>
        <Scope><Permanent/></Scope>
        <DFType><MIME>text/plain</MIME></DFType>
      </DFProperties>
    </Node>
    <Node>
      <NodeName>Items</NodeName>
      <DFProperties>
        <AccessType><Get/><Replace/></AccessType>
        <DFFormat><node/></DFFormat>
        <Occurrence><One/></Occurrence>
        <Scope><Permanent/></Scope>
        <DFType><DDFName/></DFType>
      </DFProperties>
      <Node>
        <NodeName/>
        <DFProperties>
          <AccessType><Add/><Get/><Replace/><Delete/></AccessType>
          <DFFormat><chr/></DFFormat>
          <Occurrence><ZeroOrMore/></Occurrence>
          <Scope><Dynamic/></Scope>
          <DFType><MIME>text/plain</MIME></DFType>
        </DFProperties>
      </Node>
    </Node>
  </Node>
</MgmtTree>
"#;
