//! A PIV card for tests: keys that are made on it, certificates that are put on it with Yubico's tool, as an operator does.

use std::fs;
use std::path::PathBuf;

use crate::card::{Card, CardBed, Public, Root};
use crate::{cannot_run, program, target_dir};

/// The card's PIN, as it is delivered.
pub const PIN: &str = "123456";

/// A card that keeps what is on it while it is pulled. It goes with the bed.
pub struct PivCard {
    state: PathBuf,
}

impl PivCard {
    /// Whether there can be one; else that is said for `test`.
    pub fn is_possible(test: &str) -> bool {
        let why = match (executable().is_file(), program("yubico-piv-tool")) {
            (true, Some(_)) => return true,
            (false, _) => "its PIV card is not built; `cargo xtask test` does, where libclang is",
            (_, None) => "yubico-piv-tool is not installed",
        };
        cannot_run(test, why);
        false
    }

    /// A new card of a bed.
    pub fn new(bed: &CardBed, name: &str) -> Self {
        let state = bed.directory().join(name);
        Self { state }
    }

    /// For [`CardBed::insert`].
    pub fn card(&self) -> Card {
        let state = self.state.to_str().expect("a path in UTF-8");
        Card::program(executable(), &["127.0.0.1:{port}", state])
    }

    /// Has the card in a reader make a key (`ECCP256`, `RSA2048`) in a slot; gives its SubjectPublicKeyInfo, DER.
    pub fn generate(&self, bed: &CardBed, reader: usize, slot: &str, algorithm: &str) -> Vec<u8> {
        let pem = self.file("public.pem");
        let der = self.file("public.der");
        tool(
            bed,
            reader,
            &["-a", "generate", "-s", slot, "-A", algorithm, "-o", &pem],
        );
        let output = bed.run(
            "openssl",
            &[
                "pkey", "-pubin", "-in", &pem, "-outform", "DER", "-out", &der,
            ],
        );
        assert!(output.status.success(), "{output:?}");
        fs::read(der).expect("a public key")
    }

    /// Writes a certificate (DER) into a slot.
    pub fn write(&self, bed: &CardBed, reader: usize, slot: &str, certificate: &[u8]) {
        let der = self.file("certificate.der");
        fs::write(&der, certificate).expect("a file");
        let write = [
            "-a",
            "import-certificate",
            "-s",
            slot,
            "-K",
            "DER",
            "-i",
            &der,
        ];
        tool(bed, reader, &write);
    }

    /// The same, compressed.
    pub fn write_compressed(&self, bed: &CardBed, reader: usize, slot: &str, certificate: &[u8]) {
        let der = self.file("certificate.der");
        fs::write(&der, certificate).expect("a file");
        let compressed = bed.run("gzip", &["--force", "--best", &der]);
        assert!(compressed.status.success(), "{compressed:?}");
        let gz = format!("{der}.gz");
        let write = [
            "-a",
            "import-certificate",
            "-s",
            slot,
            "-K",
            "GZIP",
            "-i",
            &gz,
        ];
        tool(bed, reader, &write);
    }

    /// A key in a slot, and a certificate for it; gives the certificate.
    pub fn issue(
        &self,
        bed: &CardBed,
        reader: usize,
        root: &Root,
        slot: &str,
        algorithm: &str,
    ) -> Vec<u8> {
        let public = self.generate(bed, reader, slot, algorithm);
        let certificate = root.issue(&format!("piv {slot}"), &Public::new(&public));
        self.write(bed, reader, slot, &certificate);
        certificate
    }

    fn file(&self, name: &str) -> String {
        let path = self.state.with_extension(name);
        path.to_str().expect("a path in UTF-8").to_owned()
    }
}

fn executable() -> PathBuf {
    target_dir().join("cards/debug/bailiwick-card-piv")
}

fn tool(bed: &CardBed, reader: usize, arguments: &[&str]) {
    let reader = bed.reader(reader);
    let output = bed.run("yubico-piv-tool", &[&["-r", &reader], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}
