//! What lies in PIV's containers (NIST SP 800-73-4 part 1 §3 and appendix A).

use super::inflate::inflate;
use crate::keys::card::apdu::{Card, Command, Status};
use crate::keys::card::error::CardError;
use crate::keys::card::hex;
use crate::keys::card::tlv::{Budget, Reader, TlvError};

const GET_DATA: u8 = 0xCB;
/// Card Holder Unique Identifier, and the Discovery Object.
const CHUID: &[u8] = &[0x5F, 0xC1, 0x02];
const DISCOVERY: &[u8] = &[0x7E];

/// A certificate, bytes, as it is and as it becomes. Stops a small one that inflates without end.
const CERTIFICATE_BYTES: usize = 16 << 10;

/// What is in a container of a certificate.
pub(super) enum Found {
    Certificate(Vec<u8>),
    Nothing,
    /// Something that cannot be taken, and why.
    Unusable(String),
}

/// The serial number of a card: its GUID; without one, its FASC-N (part 1 §3.1.2).
pub(super) fn serial(card: &mut Card<'_>) -> Result<String, CardError> {
    let missing = || {
        CardError::Malformed(
            "it has no CHUID, and so no serial number; its issuer has to write one".into(),
        )
    };
    let data = get(card, CHUID)?.ok_or_else(missing)?;
    let budget = Budget::new();
    let chuid = Reader::new(&data, &budget).expect(0x53)?.inner()?;
    for (tag, length) in [(0x34, 16), (0x30, 25)] {
        if let Some(number) = chuid.clone().find(tag)?
            && number.value.len() == length
            && number.value.iter().any(|byte| *byte != 0)
        {
            return Ok(hex(number.value));
        }
    }
    Err(missing())
}

/// Whether the holder's first choice is the PIN of the whole card (part 1 §3.3.2).
pub(super) fn prefers_global_pin(card: &mut Card<'_>) -> Result<bool, CardError> {
    let Some(data) = get(card, DISCOVERY)? else {
        return Ok(false);
    };
    // A card that lies here has its own PIN refused.
    Ok(matches!(pin_policy(&data), Ok([usage, 0x20]) if usage & 0x20 != 0))
}

fn pin_policy(data: &[u8]) -> Result<[u8; 2], TlvError> {
    let budget = Budget::new();
    let discovery = Reader::new(data, &budget).expect(0x7E)?.inner()?;
    let policy = discovery.find(0x5F2F)?;
    let policy = policy.ok_or(TlvError::Missing { wanted: 0x5F2F })?;
    let wrong = |_| TlvError::Value("a PIN policy that is not two bytes");
    policy.value.try_into().map_err(wrong)
}

/// The certificate in container `5FC1xx` (part 1, table 10 and the following).
pub(super) fn certificate(card: &mut Card<'_>, container: u8) -> Result<Found, CardError> {
    let data = match get(card, &[0x5F, 0xC1, container]) {
        Ok(Some(data)) => data,
        Ok(None) => return Ok(Found::Nothing),
        Err(error @ CardError::Refused { .. }) => return Ok(Found::Unusable(error.to_string())),
        Err(error) => return Err(error),
    };
    Ok(match unpack(&data) {
        Ok(Some(der)) => Found::Certificate(der),
        Ok(None) => Found::Nothing,
        Err(why) => Found::Unusable(why),
    })
}

/// `None`: a container that was emptied.
fn unpack(data: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let budget = Budget::new();
    let told = |error: TlvError| error.to_string();
    let container = Reader::new(data, &budget).expect(0x53).map_err(told)?;
    if container.value.is_empty() {
        return Ok(None);
    }
    let inside = container.inner().map_err(told)?;
    let find = |tag| inside.clone().find(tag).map_err(told);
    let value = find(0x70)?.ok_or("it holds no certificate")?.value;
    let info = find(0x71)?.and_then(|info| info.value.first().copied());
    if value.len() > CERTIFICATE_BYTES {
        return Err(format!("it has more than {CERTIFICATE_BYTES} bytes"));
    }
    let is_compressed = info.is_some_and(|info| info & 0x01 != 0);
    let der = if is_compressed {
        inflate(value, CERTIFICATE_BYTES)?
    } else {
        value.to_vec()
    };
    let budget = Budget::new();
    let certificate = Reader::new(&der, &budget).expect(0x30).map_err(told)?;
    Ok(Some(certificate.whole.to_vec()))
}

/// GET DATA (part 2 §3.1.2); `None`: there is nothing.
fn get(card: &mut Card<'_>, container: &[u8]) -> Result<Option<Vec<u8>>, CardError> {
    let answer = card.send(Command {
        ins: GET_DATA,
        p1: 0x3F,
        p2: 0xFF,
        data: &super::element(0x5C, container),
        le: Some(0),
    })?;
    match answer.status {
        // Some cards say that they know no such container.
        Status::NotFound | Status::Other(0x6A80) => Ok(None),
        _ => answer.success("reading a container").map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(info: u8, value: &[u8]) -> Vec<u8> {
        let inside = [
            super::super::element(0x70, value),
            vec![0x71, 1, info, 0xFE, 0],
        ]
        .concat();
        super::super::element(0x53, &inside)
    }

    /// `30 04 05 00 05 00`, by gzip.
    const SMALL: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\x33\x60\x61\x65\x60\x65\x00\x00\xb9\x04\x91\x0a\x06\x00\x00\x00";

    #[test]
    fn a_certificate_is_taken_out_of_its_container() {
        let der = [0x30, 0x02, 0x05, 0x00];
        assert_eq!(unpack(&container(0, &der)), Ok(Some(der.to_vec())));
        let longer = [&der[..], &[0xFF; 9]].concat();
        assert_eq!(unpack(&container(0, &longer)), Ok(Some(der.to_vec())));
        assert_eq!(unpack(&[0x53, 0]), Ok(None));
        for wrong in [
            &[0x53, 2, 0x71, 0][..],
            &[0x53, 4, 0x70, 9, 0x30, 0],
            &[0x54, 0],
            &[],
        ] {
            assert!(unpack(wrong).is_err(), "{wrong:02X?}");
        }
        assert!(unpack(&container(0, b"no certificate")).is_err());
        assert!(unpack(&container(1, &der)).is_err());
        let inflated = unpack(&container(1, SMALL));
        assert_eq!(inflated, Ok(Some(vec![0x30, 4, 5, 0, 5, 0])));
        assert!(unpack(&container(1, &SMALL[..16])).is_err());
    }

    #[test]
    fn pin_policies() {
        let discovery = |policy: &[u8]| {
            let inside = [
                vec![0x4F, 1, 0xA0, 0x5F, 0x2F],
                vec![policy.len() as u8],
                policy.to_vec(),
            ];
            super::super::element(0x7E, &inside.concat())
        };
        assert_eq!(pin_policy(&discovery(&[0x40, 0x10])), Ok([0x40, 0x10]));
        assert!(pin_policy(&discovery(&[0x40])).is_err());
        assert!(pin_policy(&[0x7E, 0]).is_err());
    }
}
