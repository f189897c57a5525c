//! What happens in the demonstration: the plug-ins of the device, the data of the authority, and its commands.

use serde_json::{Value, json};

pub(crate) const DEVICE_ID: &str = "demo:kitchen";
pub(crate) const SRV_ID: &str = "heating.example";
pub(crate) const NAME: &str = "Example Heating";

const DEVINFO: &str = "urn:oma:mo:oma-dm-devinfo:1.2";
const ACCOUNT: &str = "urn:oma:mo:oma-dm-dmacc:1.2";
const SESSION: &str = "urn:oma:mo:oma-sessioninfomo:1.0";
const TYPE: &str = "urn:oma:mo:x-bailiwick-mo-type:1.0";
const THERMOSTAT: &str = "urn:example:mo:thermostat:1.0";
const HOSTILE: &str = "urn:example:mo:hostile:1.0";
const UNKNOWN: &str = "urn:example:mo:door-lock:1.0";

/// What the bootstrap lets the authority manage. [`UNKNOWN`] is not among it.
pub(crate) const PERMITTED: [&str; 6] = [DEVINFO, ACCOUNT, SESSION, TYPE, THERMOSTAT, HOSTILE];

/// A plug-in of the device, and what the operator says about it in `bailiwick.toml`.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    /// For the newcomer.
    pub(crate) role: &'static str,
    /// Settings, as TOML.
    pub(crate) settings: &'static str,
}

pub(crate) const PARTS: [Part; 7] = [
    Part {
        name: "tcp",
        role: "transport: chooses addresses and interfaces; sees only ciphertext",
        settings: "grant = [\"logging\", \"config\", \"session\", \"net\"]",
    },
    Part {
        name: "linux",
        role: "environment: what this operating system knows of the device",
        settings: "grant = [\"logging\", \"config\", \"os\"]\n\
            config = { device-id = \"demo:kitchen\", manufacturer = \"Example\", model = \"Hub\" }",
    },
    Part {
        name: "devinfo",
        role: "object: which device this is",
        settings: "",
    },
    Part {
        name: "account",
        role: "object: the account of the authority",
        settings: "grant = [\"logging\", \"accounts\"]",
    },
    Part {
        name: "session-info",
        role: "object: how this session is connected",
        settings: "",
    },
    Part {
        name: "generic",
        role: "object: any type, from its description alone",
        settings: "",
    },
    Part {
        name: "hostile-object",
        role: "object: broken on purpose, crashes when it is read",
        settings: "config = { behaviour = \"trap\" }",
    },
];

/// Device policy: rights on what plug-ins bring along and the device owns.
pub(crate) const POLICY: [(&str, &str); 3] =
    [(DEVINFO, "read"), (SESSION, "read"), (HOSTILE, "read")];

/// Files in the authority's data repository.
pub(crate) fn repository() -> [(&'static str, Value); 3] {
    let new_type = json!([{
        "ClientURI": format!("{TYPE}//"),
        "MOData": { "MOType": { "MOID": THERMOSTAT, "DDF": THERMOSTAT_DDF } },
    }]);
    let new_instance = json!([{
        "ClientURI": format!("{THERMOSTAT}//"),
        "MOData": { "Thermostat": { "Room": "kitchen", "Target": 19 } },
    }]);
    let target = json!([{ "MOData": { "Target": 21 } }]);
    [
        ("thermostat-type.json", new_type),
        ("thermostat.json", new_instance),
        ("target.json", target),
    ]
}

/// A command of the authority, why it is sent, and the status that it must get.
pub(crate) struct Line {
    pub(crate) command: Vec<String>,
    pub(crate) why: &'static str,
    pub(crate) status: u64,
}

/// The commands, in order. `repository` is the URI of the data repository, with `/` at its end.
pub(crate) fn lines(repository: &str) -> Vec<Line> {
    let line = |command: &[&str], status, why| Line {
        command: command.iter().map(|part| (*part).to_owned()).collect(),
        why,
        status,
    };
    let of = |moid: &str, path: &str| format!("{moid}//{path}");
    let at = |name: &str| format!("{repository}{name}");
    vec![
        line(
            &["GET", &of(DEVINFO, "")],
            200,
            "Which device is this? The object asks the environment plug-in, through the host.",
        ),
        line(&["GET", &of(SESSION, "")], 200, "How are we connected?"),
        line(
            &[
                "HPUT",
                &at("inventory.json"),
                &of(DEVINFO, ""),
                &of(ACCOUNT, ""),
            ],
            200,
            "Upload two objects to the data repository, over a connection of its own. Secrets stay here: their nodes cannot be read.",
        ),
        line(
            &["HGET", &at("thermostat-type.json")],
            200,
            "A new type of object, without any code: the device fetches a description and from now on serves the type.",
        ),
        line(
            &["HGET", &at("thermostat.json")],
            200,
            "The first thermostat: fetched, checked against the description, stored. The authority that makes an instance owns it.",
        ),
        line(
            &["HGET", &at("target.json"), &of(THERMOSTAT, "Target")],
            200,
            "Write one value of it.",
        ),
        line(
            &["GET", &of(THERMOSTAT, "")],
            200,
            "Is it there? Every command is a transaction, on the disk before its status is sent.",
        ),
        line(
            &["DELETE", &of(DEVINFO, "")],
            403,
            "Delete the device's identity? The device owns it, and its policy lets the authority read it, no more.",
        ),
        line(
            &["GET", &of(UNKNOWN, "")],
            403,
            "A type that the account does not list: it does not matter whether the device has one.",
        ),
        line(
            &["GET", &of(HOSTILE, "")],
            500,
            "Its plug-in crashes in the middle of the session. The command fails, and nothing else does.",
        ),
        line(
            &["GET", &of(DEVINFO, "Man"), &of(DEVINFO, "Mod")],
            200,
            "The next command of the same session, served as if nothing had happened.",
        ),
    ]
}

const THERMOSTAT_DDF: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE MgmtTree PUBLIC "-//OMA//DTD-DM-DDF 1.2//EN" "http://www.openmobilealliance.org/tech/DTD/DM_DDF-V1_2.dtd">
<MgmtTree>
  <VerDTD>1.2</VerDTD>
  <Node>
    <NodeName>Thermostat</NodeName>
    <DFProperties>
      <AccessType><Get/><Delete/></AccessType>
      <DFFormat><node/></DFFormat>
      <Occurrence><ZeroOrMore/></Occurrence>
      <Scope><Dynamic/></Scope>
      <DFType><DDFName>urn:example:mo:thermostat:1.0</DDFName></DFType>
    </DFProperties>
    <Node>
      <NodeName>Room</NodeName>
      <DFProperties>
        <AccessType><Get/></AccessType>
        <DFFormat><chr/></DFFormat>
        <Occurrence><One/></Occurrence>
        <Scope><Permanent/></Scope>
        <DFType><MIME>text/plain</MIME></DFType>
      </DFProperties>
    </Node>
    <Node>
      <NodeName>Target</NodeName>
      <DFProperties>
        <AccessType><Get/><Replace/></AccessType>
        <DFFormat><int/></DFFormat>
        <Occurrence><One/></Occurrence>
        <Scope><Permanent/></Scope>
        <DFType><MIME>text/plain</MIME></DFType>
      </DFProperties>
    </Node>
  </Node>
</MgmtTree>
"#;
