//! The identifier of the device: lasting, unique, and of no use to anybody who compares it with other software's.

use crate::text;
use bailiwick_plugin::{Error, Result};
use sha2::{Digest, Sha256};

/// Hashed with the machine-id. machine-id(5) asks that the id itself is not shown, and that each application
/// derives its own.
const APPLICATION: &[u8] = b"bailiwick device-id 1\n";

/// `urn:uuid:` made of `/etc/machine-id`; empty without one.
pub(crate) fn read() -> String {
    text("etc", "machine-id")
        .filter(|id| is_machine_id(id))
        .map_or(String::new(), |id| urn(&id))
}

/// Whether an identifier can be sent: it travels in the HTTP header `OMADM-DevID`.
pub(crate) fn check(id: &str) -> Result<()> {
    match (1..=255).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(()),
        false => Err(Error::invalid_argument(format!(
            "device-id is `{id}`; set 1 to 255 printable ASCII characters without spaces"
        ))),
    }
}

/// 32 hexadecimal digits; the file reads `uninitialized` during the first boot.
fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A UUID of version 8 (RFC 9562 §5.8): the beginning of a hash, with the bits of version and variant set.
fn urn(machine_id: &str) -> String {
    let hash = Sha256::new()
        .chain_update(APPLICATION)
        .chain_update(machine_id.to_ascii_lowercase())
        .finalize();
    let mut uuid: Vec<u8> = hash[..16].to_vec();
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    let [a, b, c, d, e] = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    format!("urn:uuid:{a}-{b}-{c}-{d}-{e}")
}
