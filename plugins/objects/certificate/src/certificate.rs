//! A certificate: one that the authority gave, which is an instance that it made, or one that another source gave.

use bailiwick_plugin::certificates::{self, Certificate, Role};
use bailiwick_plugin::{Error, LeafValue, Node, Result, Tree, storage};

use crate::{not_to_be_set, text};

/// The type.
pub(crate) const MOID: &str = "urn:oma:mo:x-bailiwick-cert:1.0";

/// Where an instance keeps which certificate it is.
const ID: &str = "id";
/// Where it keeps what that is.
const ROLE: &str = "role";

/// Certificates that came from elsewhere, called by id and role.
pub(crate) fn brought() -> Result<Vec<String>> {
    let all = certificates::list()?.into_iter();
    let from_elsewhere = all.filter(|known| !known.removable || known.origins.len() > 1);
    let mut names: Vec<String> = from_elsewhere.map(|known| name(&known)).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// Gives the device a certificate.
pub(crate) fn create(initial: &[Node]) -> Result<()> {
    let (mut role, mut der, mut purposes) = (None, None, Vec::new());
    for node in initial {
        let path: Vec<&str> = node.path.iter().map(String::as_str).collect();
        match (path.as_slice(), &node.value) {
            (["Role"], _) => role = Some(given_role(text(node)?)?),
            (["Certificate"], Some(LeafValue::Binary(bytes))) => der = Some(bytes.clone()),
            (["Purposes", _], _) => purposes.push(text(node)?.to_owned()),
            (_, None) => {}
            _ => return Err(not_to_be_set(node)),
        }
    }
    let role = role.ok_or_else(|| Error::invalid_argument("Role is missing"))?;
    let der = der.ok_or_else(|| Error::invalid_argument("Certificate is missing"))?;
    let given = |known: &Certificate| known.removable && known.role == role && known.der == der;
    if certificates::list()?.iter().any(given) {
        return Err(Error::conflict(
            "the authority has given this certificate already",
        ));
    }
    let id = certificates::add(role, &der, &purposes)?;
    storage::put(ID, id.as_bytes())?;
    storage::put(ROLE, role_name(role).as_bytes())
}

/// Takes it back. One that has gone meanwhile is no hindrance.
pub(crate) fn delete() -> Result<()> {
    let (id, role) = own()?.ok_or(Error::NotSupported)?;
    match certificates::remove(&id, role) {
        Err(Error::NotFound) => Ok(()),
        outcome => outcome,
    }
}

/// What is shown of an instance.
pub(crate) fn tree(instance: &str) -> Result<Tree> {
    let own = own()?;
    let is_meant = |known: &Certificate| match &own {
        Some((id, role)) => known.id == *id && known.role == *role,
        None => name(known) == instance,
    };
    let known = certificates::list()?
        .into_iter()
        .find(is_meant)
        .ok_or(Error::NotFound)?;
    let mut tree = Tree::new()
        .leaf("Role", role_name(known.role))
        .leaf("Certificate", known.der)
        .interior("Purposes");
    for (number, purpose) in (1..).zip(known.purposes) {
        tree = tree.leaf(&format!("Purposes/{number}"), purpose);
    }
    tree = tree.interior("Origins");
    for (number, origin) in (1..).zip(known.origins) {
        tree = tree.leaf(&format!("Origins/{number}"), origin);
    }
    Ok(tree
        .leaf("State", known.state)
        .optional("KeyIn", known.key_in)
        .leaf("Subject", known.subject)
        .leaf("Issuer", known.issuer)
        .leaf("SerialNumber", known.serial_number)
        .leaf("NotBefore", known.not_before)
        .leaf("NotAfter", known.not_after))
}

/// Which certificate the addressed instance is, if the authority made it.
fn own() -> Result<Option<(String, Role)>> {
    let (Some(id), Some(role)) = (storage::get(ID)?, storage::get(ROLE)?) else {
        return Ok(None);
    };
    let damaged = || Error::other("the instance is damaged");
    let id = String::from_utf8(id).map_err(|_| damaged())?;
    let role = String::from_utf8(role).map_err(|_| damaged())?;
    Ok(Some((id, given_role(&role)?)))
}

fn name(certificate: &Certificate) -> String {
    format!("{}-{}", certificate.id, role_name(certificate.role))
}

fn given_role(text: &str) -> Result<Role> {
    match text {
        "anchor" => Ok(Role::Anchor),
        "intermediate" => Ok(Role::Intermediate),
        _ => Err(Error::invalid_argument(
            "Role is anchor or intermediate; identities are enrolled",
        )),
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Anchor => "anchor",
        Role::Identity => "identity",
        Role::Intermediate => "intermediate",
    }
}
