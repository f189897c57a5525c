//! `bailiwick certs import FILE`: certificates and keys from PEM, DER and PKCS#12. A PKCS#12 file is opened here, as the
//! operator, and never in the daemon.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use super::client::{Wait, call};
use super::{CliError, Common, print};
use crate::certificates::{certificates, private_key_pem};

/// Bytes of a file. Stops a path that is a device or a disk image.
const FILE: u64 = 256 << 10;
/// Bytes of a password.
const PASSWORD: u64 = 1 << 10;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// PEM, DER or PKCS#12; with a private key it becomes an identity, else each certificate an anchor
    file: PathBuf,
    /// SrvID of the Management Authority that it counts for
    #[arg(long)]
    authority: String,
    /// What it is for: sessions, applications, export:STORE, or a label; may be repeated
    #[arg(long = "purpose", value_name = "PURPOSE", default_value = "sessions")]
    purposes: Vec<String>,
    /// File with the password of a PKCS#12 file; - for standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// What is in a file.
#[derive(Default)]
struct Found {
    certificates: Vec<Vec<u8>>,
    key: Option<Vec<u8>>,
}

pub(super) fn run(common: &Common, arguments: &Arguments) -> Result<ExitCode, CliError> {
    let path = &arguments.file;
    let bytes = read(path, FILE)?;
    let found = open(&bytes, arguments.password_file.as_deref()).map_err(|problem| {
        CliError::Certificates {
            path: path.clone(),
            problem,
        }
    })?;
    let encoded: Vec<String> = found
        .certificates
        .iter()
        .map(|der| BASE64.encode(der))
        .collect();
    let parameters = json!({
        "authority": arguments.authority,
        "purposes": arguments.purposes,
        "certificates": encoded,
        "key": found.key.map(|key| BASE64.encode(key)),
        "file": path.display().to_string(),
    });
    let reply = call(common, "ImportCertificates", parameters, Wait::Device)?;
    let ids = reply.get("certificates").and_then(Value::as_array);
    let lines = ids.into_iter().flatten().filter_map(Value::as_str);
    print(
        &lines
            .map(|id| format!("imported {id}\n"))
            .collect::<String>(),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let one_more = limit + 1;
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().take(one_more).read_to_end(&mut bytes),
        false => {
            std::fs::File::open(path).and_then(|file| file.take(one_more).read_to_end(&mut bytes))
        }
    };
    let fits = |count: usize| match u64::try_from(count).is_ok_and(|count| count <= limit) {
        true => Ok(()),
        false => Err(std::io::Error::other(format!(
            "it has more than {limit} bytes"
        ))),
    };
    read.and_then(fits).map_err(|source| CliError::Read {
        path: path.to_owned(),
        source,
    })?;
    Ok(bytes)
}

fn open(bytes: &[u8], password: Option<&Path>) -> Result<Found, String> {
    if bytes.trim_ascii_start().starts_with(b"-----BEGIN ") {
        let has_key = bytes.windows(12).any(|window| window == b"PRIVATE KEY-");
        return Ok(Found {
            certificates: certificates(bytes).map_err(|e| e.to_string())?,
            key: match has_key {
                true => Some(
                    private_key_pem(bytes)
                        .map_err(|e| e.to_string())?
                        .into_bytes(),
                ),
                false => None,
            },
        });
    }
    if crate::certificates::Description::of(bytes).is_ok() {
        return Ok(Found {
            certificates: vec![bytes.to_vec()],
            key: None,
        });
    }
    let password = match password {
        Some(path) => read(path, PASSWORD).map_err(|e| e.to_string())?,
        None => return Err("it is neither PEM nor a certificate; name the password of a PKCS#12 file with --password-file".into()),
    };
    let password = String::from_utf8(password).map_err(|_| "the password is not UTF-8")?;
    pkcs12(bytes, password.trim_end_matches(['\r', '\n']))
}

/// choice: what RFC 9579 and today's tools write (PBES2 with AES, HMAC); 3DES and RC2 are not read.
#[cfg(feature = "pkcs12")]
fn pkcs12(bytes: &[u8], password: &str) -> Result<Found, String> {
    use p12_keystore::{KeyStore, KeyStoreEntry};
    let store = KeyStore::from_pkcs12(bytes, password).map_err(|error| {
        format!("it is no PKCS#12 file that this password opens ({error}); `openssl pkcs12 -export` without -legacy makes one")
    })?;
    let mut found = Found::default();
    for (_, entry) in store.entries() {
        match entry {
            KeyStoreEntry::PrivateKeyChain(chain) if found.key.is_none() => {
                found.key = Some(chain.key().to_vec());
                let chain = chain.chain().iter();
                found
                    .certificates
                    .extend(chain.map(|it| it.as_der().to_vec()));
            }
            KeyStoreEntry::PrivateKeyChain(_) => {
                return Err(
                    "it holds several private keys; put each into a file of its own".into(),
                );
            }
            KeyStoreEntry::Certificate(certificate) => {
                found.certificates.push(certificate.as_der().to_vec());
            }
            _ => {}
        }
    }
    Ok(found)
}

#[cfg(not(feature = "pkcs12"))]
fn pkcs12(_: &[u8], _: &str) -> Result<Found, String> {
    Err("this program was built without PKCS#12; `openssl pkcs12 -in FILE -nodes` turns it into PEM".into())
}
