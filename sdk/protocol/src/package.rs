//! Packages #1, #2 and #3: the JSON documents of a session (OMA DM 2.0 §7.2.1). Unknown members are skipped.

use crate::{
    alert::Alert,
    command::{Command, CommandError},
    json::{self, JsonError, Map, put, text},
    limits::Limits,
    object::MoItem,
    status::StatusCode,
};
use thiserror::Error;

/// Client to server: what is there, and why the session was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Package1 {
    /// `MOS`: the objects that this server may know of.
    pub mos: Vec<MoEntry>,
    /// `Alert`: one of them tells why the session was opened.
    pub alerts: Vec<Alert>,
}

/// The instances of one MOID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoEntry {
    /// `MOID`.
    pub moid: String,
    /// `MIID`: those on which the server has some permission.
    pub miids: Vec<String>,
    /// `DDF`: a link to the description.
    pub ddf: Option<String>,
}

/// Server to client: commands in the order of execution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Package2 {
    /// One bad command never spoils its neighbours: it stands here as its error.
    pub commands: Vec<Result<Command, CommandError>>,
}

/// Client to server: one status per command except END, in the same order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Package3 {
    /// `Status`.
    pub statuses: Vec<Status>,
    /// `Alert`.
    pub alerts: Vec<Alert>,
}

/// The result of one command.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// `sc`.
    pub code: StatusCode,
    /// `URI`: where an HGET without ClientURI stored its data.
    pub uris: Vec<String>,
    /// `MO`: the data of a GET.
    pub objects: Vec<MoItem>,
}

/// Why bytes are not a package.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PackageError {
    /// Not JSON, or too much of it.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A required member is missing or of the wrong type.
    #[error("{member} must be {expected}")]
    Member {
        /// Which member.
        member: &'static str,
        /// What belongs there.
        expected: &'static str,
    },
    /// A list longer than `Limits::commands`.
    #[error("{member} has {found} entries, at most {limit} are read; split the package")]
    TooMany {
        /// Which member.
        member: &'static str,
        /// What was found.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
}

impl Package1 {
    /// Reads a Package#1.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, PackageError> {
        let map = document(bytes, limits)?;
        let mos = json::list(&map, "MOS");
        let mos = mos
            .iter()
            .map(MoEntry::from_json)
            .collect::<Result<_, _>>()?;
        Ok(Package1 {
            mos,
            alerts: alerts(&map, limits)?,
        })
    }

    /// Writes it, members in the order of the schema.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut map = Map::new();
        put(
            &mut map,
            "MOS",
            Some(self.mos.iter().map(MoEntry::to_json).collect::<Json>()),
        );
        put(
            &mut map,
            "Alert",
            Some(self.alerts.iter().map(Alert::to_json).collect::<Json>()),
        );
        Json::from(map).to_string().into_bytes()
    }
}

impl Package2 {
    /// A package of good commands.
    pub fn new(commands: Vec<Command>) -> Self {
        Package2 {
            commands: commands.into_iter().map(Ok).collect(),
        }
    }

    /// Reads a Package#2.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, PackageError> {
        let map = document(bytes, limits)?;
        if !map.contains_key("CMD") {
            return Err(PackageError::Member {
                member: "CMD",
                expected: "an array of commands",
            });
        }
        let commands = match json::list(&map, "CMD") {
            // A lone command that was not put into an array of its own.
            list if list.first().is_some_and(Json::is_string) => vec![command(list, limits)],
            list => {
                bound("CMD", list, limits)?;
                list.iter()
                    .map(|item| command(item.as_array().map_or(&[], Vec::as_slice), limits))
                    .collect()
            }
        };
        Ok(Package2 { commands })
    }

    /// Writes the good commands; an `Err` has no form on the wire.
    pub fn to_bytes(&self) -> Vec<u8> {
        let commands: Json = self
            .commands
            .iter()
            .flatten()
            .map(Command::to_parts)
            .collect();
        Json::from(Map::from_iter([("CMD".to_owned(), commands)]))
            .to_string()
            .into_bytes()
    }
}

impl Package3 {
    /// Reads a Package#3.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, PackageError> {
        let map = document(bytes, limits)?;
        let statuses = json::list(&map, "Status");
        bound("Status", statuses, limits)?;
        let statuses = statuses
            .iter()
            .map(Status::from_json)
            .collect::<Result<_, _>>()?;
        Ok(Package3 {
            statuses,
            alerts: alerts(&map, limits)?,
        })
    }

    /// Writes it, members in the order of the schema.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut map = Map::new();
        put(
            &mut map,
            "Status",
            Some(self.statuses.iter().map(Status::to_json).collect::<Json>()),
        );
        if !self.alerts.is_empty() {
            put(
                &mut map,
                "Alert",
                Some(self.alerts.iter().map(Alert::to_json).collect::<Json>()),
            );
        }
        Json::from(map).to_string().into_bytes()
    }
}

impl MoEntry {
    fn from_json(json: &Json) -> Result<Self, PackageError> {
        let wrong = PackageError::Member {
            member: "MOS",
            expected: "an array of objects with MOID",
        };
        let map = json.as_object().ok_or_else(|| wrong.clone())?;
        Ok(MoEntry {
            moid: text(map, "MOID").ok_or(wrong)?,
            miids: texts(map, "MIID"),
            ddf: text(map, "DDF"),
        })
    }

    fn to_json(&self) -> Json {
        let mut map = Map::new();
        put(&mut map, "MIID", Some(self.miids.clone()));
        put(&mut map, "MOID", Some(self.moid.as_str()));
        put(&mut map, "DDF", self.ddf.as_deref());
        map.into()
    }
}

impl Status {
    /// A status without URI or data.
    pub fn new(code: StatusCode) -> Self {
        Status {
            code,
            uris: Vec::new(),
            objects: Vec::new(),
        }
    }

    fn from_json(json: &Json) -> Result<Self, PackageError> {
        let wrong = PackageError::Member {
            member: "Status",
            expected: "an array of objects with sc",
        };
        let map = json.as_object().ok_or_else(|| wrong.clone())?;
        let code = map.get("sc").and_then(|sc| match sc.as_str() {
            Some(digits) => digits.parse().ok(),
            None => sc.as_u64().and_then(|number| number.try_into().ok()),
        });
        Ok(Status {
            code: StatusCode(code.ok_or(wrong)?),
            uris: texts(map, "URI"),
            objects: DATA_MEMBERS
                .iter()
                .flat_map(|member| json::list(map, member))
                .map(data)
                .collect(),
        })
    }

    fn to_json(&self) -> Json {
        let mut map = Map::new();
        put(&mut map, "sc", Some(self.code.0));
        if !self.uris.is_empty() {
            put(&mut map, "URI", Some(self.uris.clone()));
        }
        if !self.objects.is_empty() {
            let objects: Json = self.objects.iter().map(MoItem::to_json).collect();
            put(&mut map, "MO", Some(objects));
        }
        map.into()
    }
}

type Json = serde_json::Value;

// choice: the specification does not show where the data of a GET stands. The first name is ours; others are read too.
const DATA_MEMBERS: [&str; 5] = ["MO", "MOS", "MOData", "Data", "Results"];

fn document(bytes: &[u8], limits: &Limits) -> Result<Map, PackageError> {
    match json::parse(bytes, limits.package_bytes, limits)? {
        Json::Object(map) => Ok(map),
        _ => Err(PackageError::Member {
            member: "the package",
            expected: "a JSON object",
        }),
    }
}

fn alerts(map: &Map, limits: &Limits) -> Result<Vec<Alert>, PackageError> {
    let wrong = PackageError::Member {
        member: "Alert",
        expected: "an array of objects with AlertType",
    };
    let alerts = json::list(map, "Alert");
    bound("Alert", alerts, limits)?;
    alerts
        .iter()
        .map(|json| Alert::from_json(json).ok_or_else(|| wrong.clone()))
        .collect()
}

fn bound(member: &'static str, list: &[Json], limits: &Limits) -> Result<(), PackageError> {
    match list.len() > limits.commands {
        true => Err(PackageError::TooMany {
            member,
            found: list.len(),
            limit: limits.commands,
        }),
        false => Ok(()),
    }
}

fn command(parts: &[Json], limits: &Limits) -> Result<Command, CommandError> {
    let parts: Option<Vec<String>> = parts
        .iter()
        .map(|part| part.as_str().map(str::to_owned))
        .collect();
    Command::parse_within(&parts.ok_or(CommandError::Malformed)?, limits)
}

/// An item of an MO serialization, or bare data.
fn data(json: &Json) -> MoItem {
    let bare = || MoItem {
        client_uri: None,
        data: json.clone(),
        ddf: None,
        cv: None,
    };
    MoItem::from_json(json.clone()).unwrap_or_else(bare)
}

fn texts(map: &Map, member: &str) -> Vec<String> {
    json::list(map, member)
        .iter()
        .filter_map(Json::as_str)
        .map(str::to_owned)
        .collect()
}
