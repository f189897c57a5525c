//! Which card speaks for which authority: the `[[card]]` lines of the configuration, read and checked before the daemon
//! locks itself in.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::authority::Authority;
use crate::certificates::{self, Description, Purpose, UnknownPurpose};
use crate::config::{CardBinding, OnRemoval};

/// Bytes of a file with a CA certificate. Stops a path that is a device or a disk image.
const FILE_BYTES: u64 = 64 << 10;

/// All lines, in their order.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    lines: Vec<Line>,
}

/// One line: all that it names has to hold for a card to speak for the authority.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its place in the configuration, from 1.
    pub number: usize,
    /// For whom the card speaks.
    pub authority: Authority,
    /// A CA, DER: the card proves a key whose certificate chains to it.
    pub issuer: Option<Vec<u8>>,
    /// SHA-256 of a certificate, hexadecimal: the card proves its key.
    pub certificate: Option<String>,
    /// What the card says of itself: digits and capital letters.
    pub serial: Option<String>,
    /// What its certificates are for.
    pub purposes: BTreeSet<Purpose>,
    /// What becomes of what it gave when it goes.
    pub on_removal: OnRemoval,
}

/// Why a line means nothing.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// It binds no card.
    #[error(
        "[[card]] number {number} binds every card there is; write issuer, certificate or serial"
    )]
    BindsAll {
        /// Which, from 1.
        number: usize,
    },
    /// No authority can have this name.
    #[error("[[card]] number {number}: {authority:?} is not a SrvID that an account can have")]
    Authority {
        /// Which, from 1.
        number: usize,
        /// What was written.
        authority: String,
    },
    /// The file of the CA cannot be used.
    #[error("[[card]] number {number}: issuer {path}: {problem}")]
    Issuer {
        /// Which, from 1.
        number: usize,
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// Not a SHA-256.
    #[error(
        "[[card]] number {number}: certificate must be the SHA-256 of a certificate, 64 hexadecimal digits; \
         `openssl x509 -noout -fingerprint -sha256` shows it"
    )]
    Certificate {
        /// Which, from 1.
        number: usize,
    },
    /// Not a serial number.
    #[error(
        "[[card]] number {number}: serial must have 1 to 64 letters and digits; `bailiwick cards` shows it"
    )]
    Serial {
        /// Which, from 1.
        number: usize,
    },
    /// Not a purpose.
    #[error("[[card]] number {number}: {source}")]
    Purpose {
        /// Which, from 1.
        number: usize,
        /// What was written.
        source: UnknownPurpose,
    },
    /// Nothing to use the certificates for.
    #[error("[[card]] number {number} has no purposes; leave them out for sessions")]
    NoPurpose {
        /// Which, from 1.
        number: usize,
    },
}

impl Policy {
    /// Reads and checks every line, and the files that they name.
    pub fn read(bindings: &[CardBinding]) -> Result<Self, PolicyError> {
        let lines = (1..).zip(bindings);
        let lines = lines.map(|(number, binding)| line(number, binding));
        Ok(Self {
            lines: lines.collect::<Result<_, _>>()?,
        })
    }

    /// Lines that were checked elsewhere.
    #[cfg(test)]
    pub(super) fn of(lines: Vec<Line>) -> Self {
        Self { lines }
    }

    /// The lines, in their order.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Whether a card may speak for this authority at all.
    pub fn binds(&self, authority: &Authority) -> bool {
        self.lines.iter().any(|line| line.authority == *authority)
    }
}

fn line(number: usize, binding: &CardBinding) -> Result<Line, PolicyError> {
    let CardBinding {
        authority: srv_id,
        issuer,
        certificate,
        serial,
        pin_file: _,
        purposes,
        on_removal,
    } = binding;
    if issuer.is_none() && certificate.is_none() && serial.is_none() {
        return Err(PolicyError::BindsAll { number });
    }
    let authority = Authority::server(srv_id);
    if authority.as_str() != srv_id || srv_id.is_empty() || srv_id == "*" {
        return Err(PolicyError::Authority {
            number,
            authority: srv_id.chars().take(80).collect(),
        });
    }
    let issuer = issuer.as_deref().map(|path| {
        read_ca(path).map_err(|problem| PolicyError::Issuer {
            number,
            path: path.to_owned(),
            problem,
        })
    });
    let certificate = certificate.as_deref().map(|text| {
        let digits = bare(text).to_ascii_lowercase();
        let is_digest = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest
            .then_some(digits)
            .ok_or(PolicyError::Certificate { number })
    });
    let serial = serial.as_deref().map(|text| {
        let serial = bare(text).to_ascii_uppercase();
        let is_serial = (1..=64).contains(&serial.len())
            && serial.bytes().all(|byte| byte.is_ascii_alphanumeric());
        is_serial
            .then_some(serial)
            .ok_or(PolicyError::Serial { number })
    });
    let purposes = purposes
        .iter()
        .map(|text| text.parse())
        .collect::<Result<BTreeSet<Purpose>, _>>()
        .map_err(|source| PolicyError::Purpose { number, source })?;
    if purposes.is_empty() {
        return Err(PolicyError::NoPurpose { number });
    }
    Ok(Line {
        number,
        authority,
        issuer: issuer.transpose()?,
        certificate: certificate.transpose()?,
        serial: serial.transpose()?,
        purposes,
        on_removal: *on_removal,
    })
}

/// As people copy them: without what stands between the digits.
fn bare(text: &str) -> String {
    text.chars()
        .filter(|c| !matches!(c, ' ' | ':' | '-'))
        .collect()
}

/// The one CA certificate in a file, DER.
fn read_ca(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes))
        .map_err(|e| e.to_string())?;
    let mut found = certificates::certificates(&bytes)
        .map_err(|_| "it is no certificate in PEM or DER".to_owned())?;
    let (Some(der), true) = (found.pop(), found.is_empty()) else {
        return Err(
            "it holds more than one certificate; name the CA that issues to the card".into(),
        );
    };
    let described = Description::of(&der).map_err(|unfit| unfit.to_string())?;
    match described.is_ca {
        true => Ok(der),
        false => Err(format!("{} is not a CA", described.subject)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::testing::Ca;

    fn read(text: &str) -> Result<Policy, String> {
        #[derive(serde::Deserialize)]
        struct Lines {
            card: Vec<CardBinding>,
        }
        let lines: Lines = toml::from_str(text).unwrap();
        Policy::read(&lines.card).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_are_read_as_people_write_them() {
        let path = std::env::temp_dir().join(format!("bw-policy-{}.pem", std::process::id()));
        let ca = Ca::new("Card CA");
        std::fs::write(&path, ca.der()).unwrap();
        let text = format!(
            "[[card]]\nauthority = 'north'\nissuer = {path:?}\nserial = '8949 02-a1'\n\
             [[card]]\nauthority = 'south'\ncertificate = '{}'\npurposes = ['applications', 'export:wifi', 'meter']\n\
             on-removal = 'remove'",
            ["AB"; 32].join(":")
        );
        let policy = read(&text).unwrap();
        std::fs::remove_file(&path).unwrap();
        let [north, south] = policy.lines() else {
            panic!("{policy:?}")
        };
        assert_eq!(north.issuer, Some(ca.der()));
        assert_eq!(north.serial.as_deref(), Some("894902A1"));
        assert_eq!(north.purposes, BTreeSet::from([Purpose::Sessions]));
        assert_eq!(north.on_removal, OnRemoval::Suspend);
        assert_eq!(south.certificate, Some("ab".repeat(32)));
        assert_eq!(south.purposes.len(), 3);
        assert_eq!(south.on_removal, OnRemoval::Remove);
        assert!(policy.binds(&Authority::server("north")));
        assert!(!policy.binds(&Authority::server("west")));
    }

    #[test]
    fn a_line_that_means_nothing_is_named_by_its_number() {
        let leaf = std::env::temp_dir().join(format!("bw-leaf-{}.pem", std::process::id()));
        std::fs::write(&leaf, Ca::new("CA").client("x").certificate_pem).unwrap();
        let leaf_line = format!("issuer = {leaf:?}");
        for (line, expected) in [
            ("", "number 2 binds every card"),
            (
                "issuer = '/nonexistent'",
                "number 2: issuer /nonexistent: No such file",
            ),
            ("issuer = '/dev/zero'", "no certificate in PEM or DER"),
            (leaf_line.as_str(), "CN=x is not a CA"),
            ("certificate = 'abcd'", "number 2: certificate must be"),
            ("serial = ''", "number 2: serial must have"),
            ("serial = '12/34'", "number 2: serial must have"),
            (
                "serial = '1'\npurposes = ['export:../x']",
                "number 2: \"export:../x\" is no purpose",
            ),
            ("serial = '1'\npurposes = []", "number 2 has no purposes"),
        ] {
            let text = format!(
                "[[card]]\nauthority = 'north'\nserial = '1'\n[[card]]\nauthority = 'north'\n{line}"
            );
            let error = read(&text).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        std::fs::remove_file(&leaf).unwrap();
        for srv_id in ["local:operator", "server:x", "*", ""] {
            let error =
                read(&format!("[[card]]\nauthority = '{srv_id}'\nserial = '1'")).unwrap_err();
            assert!(error.contains("number 1"), "{error}");
        }
    }
}
