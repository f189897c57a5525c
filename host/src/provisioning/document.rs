//! A bootstrap object of a card: from the bytes of a file to a document.

use bailiwick_protocol::bootstrap::BootstrapDocument;
use bailiwick_protocol::{self as protocol, bootstrap::BootstrapError};

/// The object identifier of bootstrap objects, `dm-bootstrap` (OMNA, OMA-TS-DM_Bootstrap-V1_2).
pub const DM_BOOTSTRAP: &str = "2.23.43.7.1";
/// Bytes of a bootstrap object (OMA-TS-LightweightM2M appendix G sets this limit for its own).
const MAX_OBJECT: usize = 32 << 10;

/// Reads a bootstrap object.
///
/// choice: OMA DM 2.0 does not say what such a file holds. Here it is the bootstrap document that the device takes from
/// everywhere, JSON, to the end of the file or the first byte 00 or FF, which cards fill files up with; a length of two
/// bytes may stand before it, as in the files of LwM2M.
pub(super) fn document(bytes: &[u8]) -> Result<BootstrapDocument, String> {
    if bytes.len() > MAX_OBJECT {
        return Err(format!(
            "it has {} bytes; at most {MAX_OBJECT} are read",
            bytes.len()
        ));
    }
    let plain = parse(unpadded(bytes));
    // Any JSON text could be taken for one with a length before it, so that comes second.
    match (plain, bytes.split_first_chunk()) {
        (Err(error), Some((length, rest))) => {
            let length = usize::from(u16::from_be_bytes(*length));
            let within = rest.get(..length).map(|text| parse(unpadded(text)));
            match within {
                Some(Ok(document)) => Ok(document),
                _ => Err(error.to_string()),
            }
        }
        (plain, _) => plain.map_err(|error| error.to_string()),
    }
}

fn parse(text: &[u8]) -> Result<BootstrapDocument, BootstrapError> {
    BootstrapDocument::parse(text, &protocol::Limits::DEFAULT)
}

/// Up to what no JSON text holds.
fn unpadded(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| matches!(byte, 0x00 | 0xff));
    bytes.get(..end.unwrap_or(bytes.len())).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_in_files_of_cards() {
        let account = protocol::Account {
            srv_id: "north".into(),
            srv_uri: "https://north.example/dm".into(),
            name: "North".into(),
            permitted_moids: vec!["urn:oma:mo:x:1.0".into()],
            ..Default::default()
        };
        let expected = BootstrapDocument {
            accounts: vec![account],
            objects: Vec::new(),
        };
        let text = expected.to_bytes();
        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
        let prefixed = [&length[..], &text].concat();
        for bytes in [
            text.clone(),
            [&text[..], &[0xff; 40]].concat(),
            [&text[..], &[0; 40], b"rest"].concat(),
            prefixed.clone(),
            [&prefixed[..], &[0xff; 40]].concat(),
            [b"\n\n", &text[..]].concat(),
        ] {
            assert_eq!(document(&bytes).as_ref(), Ok(&expected));
        }
        for bytes in [
            vec![],
            vec![0xff; 40],
            vec![0, 0],
            prefixed[..40].to_vec(),
            [b"\xff", &text[..]].concat(),
            b"[]".to_vec(),
        ] {
            document(&bytes).unwrap_err();
        }
        let huge = [&text[..], &vec![b' '; MAX_OBJECT]].concat();
        assert!(document(&huge).unwrap_err().contains("at most 32768"));
    }
}
