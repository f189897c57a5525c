//! Private keys of the device in files: `keys/` of the state directory. The host writes those that a bootstrap brings
//! (`HASH.pem`); keys that are made here (`HASH.key`) never leave this process.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
    RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::messages::{KeyError, KeyKind, KeyRef, Scheme};

/// Bytes of a key's file. Stops a file that is no key from being read into memory.
const MAX_BYTES: u64 = 64 << 10;
/// How the name of a key ends that came with an account.
const GIVEN: &str = ".pem";
/// How the name of a key ends that was made here.
const MADE: &str = ".key";
/// How it ends while the file is written.
const UNFINISHED: &str = ".key-new";

/// The directory of keys.
#[derive(Clone, Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

/// Makes the directory of keys, if it is not there. The host does: the keys process locks itself into it.
pub(crate) fn make_directory(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        // Also where it is there: whoever made it may have been killed before this.
        _ => sync(directory.parent().unwrap_or(Path::new("."))),
    }
}

/// A private key that has been read.
pub(super) enum Key {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Files {
    /// The keys in `directory`.
    pub(super) fn in_directory(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// A signature over `message`, in the form that TLS wants.
    pub(super) fn sign(
        &self,
        name: &str,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        self.read(name)?.sign(name, scheme, message)
    }

    /// SubjectPublicKeyInfo, DER.
    pub(super) fn public_key(&self, name: &str) -> Result<Vec<u8>, KeyError> {
        self.read(name)?
            .public_key()
            .ok_or_else(|| failed(name, "it has no public key"))
    }

    /// Makes a key, and tells its SubjectPublicKeyInfo, DER. It is on the disk when this returns.
    pub(super) fn generate(&self, kind: KeyKind) -> Result<(KeyRef, Vec<u8>), KeyError> {
        let mut bytes = [0; 16];
        let random = aws_lc_rs::rand::fill(&mut bytes);
        let hash: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{hash}{MADE}");
        random.map_err(|_| failed(&name, "the system gives no random bytes"))?;
        let key = Key::generate(kind);
        let (pem, public) = key
            .and_then(|key| Some((key.to_pem()?, key.public_key()?)))
            .ok_or_else(|| failed(&name, "no key could be made"))?;
        let temporary = self.directory.join(format!("{hash}{UNFINISHED}"));
        let path = self.directory.join(&name);
        let written = write_synced(&temporary, pem.as_bytes())
            .and_then(|()| fs::rename(&temporary, &path))
            .and_then(|()| sync(&self.directory));
        if let Err(error) = written {
            let _gone = fs::remove_file(&temporary);
            return Err(failed(&name, &error.to_string()));
        }
        Ok((KeyRef::File(name), public))
    }

    /// Removes a key that was made here. One that is not there is gone already.
    pub(super) fn forget(&self, name: &str) -> Result<(), KeyError> {
        if !is_name(name, MADE) {
            return Err(failed(
                name,
                "it was not made on this device; it goes with its account",
            ));
        }
        match fs::remove_file(self.directory.join(name)) {
            Ok(()) => sync(&self.directory).map_err(|error| failed(name, &error.to_string())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(name, &error.to_string())),
        }
    }

    fn read(&self, name: &str) -> Result<Key, KeyError> {
        let no_key = || KeyError::NoKey {
            key: name.chars().take(64).collect(),
        };
        if !is_name(name, GIVEN) && !is_name(name, MADE) {
            return Err(no_key());
        }
        let mut text = String::new();
        let read = File::open(self.directory.join(name))
            .and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text));
        match read {
            Ok(_) => Key::from_pem(&text).ok_or_else(|| {
                failed(
                    name,
                    "it is no private key of RSA (2048 bits or more), P-256, P-384 or Ed25519",
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(no_key()),
            Err(error) => Err(failed(name, &error.to_string())),
        }
    }
}

impl Key {
    /// PKCS#8, SEC 1 or PKCS#1.
    pub(super) fn from_pem(pem: &str) -> Option<Self> {
        let der = from_pem(pem)?;
        let rsa = || RsaKeyPair::from_pkcs8(&der).or_else(|_| RsaKeyPair::from_der(&der));
        let ecdsa = |curve| EcdsaKeyPair::from_private_key_der(curve, &der);
        if let Ok(key) = rsa() {
            Some(Self::Rsa(key))
        } else if let Ok(key) = ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING) {
            Some(Self::P256(key))
        } else if let Ok(key) = ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING) {
            Some(Self::P384(key))
        } else {
            let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der);
            key.ok().map(Self::Ed25519)
        }
    }

    /// A signature over `message`, in the form that TLS wants; `name` is for errors.
    pub(super) fn sign(
        &self,
        name: &str,
        scheme: Scheme,
        message: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        let signed = match (self, scheme) {
            (Key::Rsa(key), scheme) => {
                let encoding = encoding(scheme).ok_or(KeyError::Scheme { scheme })?;
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signature)
                    .map(|()| signature)
            }
            (Key::P256(key), Scheme::EcdsaP256Sha256)
            | (Key::P384(key), Scheme::EcdsaP384Sha384) => key
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec()),
            (Key::Ed25519(key), Scheme::Ed25519) => Ok(key.sign(message).as_ref().to_vec()),
            (_, scheme) => return Err(KeyError::Scheme { scheme }),
        };
        signed.map_err(|_| failed(name, "signing failed"))
    }

    fn generate(kind: KeyKind) -> Option<Self> {
        let ecdsa = |curve| EcdsaKeyPair::generate(curve).ok();
        match kind {
            // choice: 3072 bits, which NIST SP 800-57 takes for good beyond 2030.
            KeyKind::Rsa => RsaKeyPair::generate(KeySize::Rsa3072).ok().map(Self::Rsa),
            KeyKind::EcP256 => ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING).map(Self::P256),
            KeyKind::EcP384 => ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING).map(Self::P384),
            KeyKind::Ed25519 => Ed25519KeyPair::generate().ok().map(Self::Ed25519),
        }
    }

    /// SubjectPublicKeyInfo, DER.
    pub(super) fn public_key(&self) -> Option<Vec<u8>> {
        let der: PublicKeyX509Der<'_> = match self {
            Self::Rsa(key) => key.public_key().as_der().ok()?,
            Self::P256(key) | Self::P384(key) => key.public_key().as_der().ok()?,
            Self::Ed25519(key) => key.public_key().as_der().ok()?,
        };
        Some(der.as_ref().to_vec())
    }

    fn to_pem(&self) -> Option<String> {
        let pkcs8 = match self {
            Self::Rsa(key) => AsDer::<Pkcs8V1Der<'_>>::as_der(key).ok()?.as_ref().to_vec(),
            Self::P256(key) | Self::P384(key) => key.to_pkcs8v1().ok()?.as_ref().to_vec(),
            Self::Ed25519(key) => key.to_pkcs8v1().ok()?.as_ref().to_vec(),
        };
        let text = STANDARD.encode(pkcs8);
        Some(format!(
            "-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"
        ))
    }
}

/// Removes keys made here that nobody refers to, and what an interrupted making left. Call it when no key is being
/// made: an enrolment that lost power before its commit leaves one.
pub fn remove_made_but(directory: &Path, keep: &BTreeSet<String>) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_name(&name, UNFINISHED) || is_name(&name, MADE) && !keep.contains(&name) {
            fs::remove_file(entry.path())?;
            tracing::info!("removed a key that no certificate refers to");
        }
    }
    Ok(())
}

/// Hexadecimal digits and a suffix: nothing that could lead elsewhere.
fn is_name(name: &str, suffix: &str) -> bool {
    name.strip_suffix(suffix)
        .is_some_and(|hash| hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// What the first block of a PEM text holds (RFC 7468).
fn from_pem(pem: &str) -> Option<Vec<u8>> {
    let mut lines = pem.lines();
    lines.find(|line| line.starts_with("-----BEGIN ") && line.ends_with("PRIVATE KEY-----"))?;
    let text: String = lines
        .take_while(|line| !line.starts_with("-----"))
        .collect();
    STANDARD.decode(text.trim()).ok()
}

fn encoding(scheme: Scheme) -> Option<&'static dyn RsaEncoding> {
    match scheme {
        Scheme::RsaPkcs1Sha256 => Some(&RSA_PKCS1_SHA256),
        Scheme::RsaPkcs1Sha384 => Some(&RSA_PKCS1_SHA384),
        Scheme::RsaPkcs1Sha512 => Some(&RSA_PKCS1_SHA512),
        Scheme::RsaPssSha256 => Some(&RSA_PSS_SHA256),
        Scheme::RsaPssSha384 => Some(&RSA_PSS_SHA384),
        Scheme::RsaPssSha512 => Some(&RSA_PSS_SHA512),
        Scheme::EcdsaP256Sha256 | Scheme::EcdsaP384Sha384 | Scheme::Ed25519 => None,
    }
}

fn failed(name: &str, problem: &str) -> KeyError {
    KeyError::File {
        name: name.chars().take(64).collect(),
        problem: problem.to_owned(),
    }
}

/// Writes a new file that only its owner reads, and waits until it is on the disk.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Waits until the names in a directory are on the disk.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
