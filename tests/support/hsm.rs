//! A token of SoftHSM2 of its own for a test, prepared with OpenSC's tools, as an operator does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program;

/// Where Debian and others have the module.
const MODULES: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
];

/// What the token is called.
pub const LABEL: &str = "Device keys";
/// Its PIN.
pub const PIN: &str = "123456";
const SO_PIN: &str = "70514826";

/// A token. Dropped, it is removed.
pub struct Hsm {
    directory: PathBuf,
    module: PathBuf,
}

impl Hsm {
    /// What is missing to have one.
    pub fn missing() -> Option<&'static str> {
        let has_module = MODULES.iter().any(|module| Path::new(module).is_file());
        match (has_module, program("softhsm2-util"), program("pkcs11-tool")) {
            (false, ..) | (_, None, _) => Some("softhsm2 is not installed"),
            (.., None) => Some("opensc is not installed"),
            (true, Some(_), Some(_)) => None,
        }
    }

    /// An empty token.
    pub fn new(name: &str) -> Self {
        let hsm = Self::without_token(name);
        let arguments = [
            "--init-token",
            "--free",
            "--label",
            LABEL,
            "--pin",
            PIN,
            "--so-pin",
            SO_PIN,
        ];
        hsm.run("softhsm2-util", &arguments);
        hsm
    }

    /// A place for one.
    pub fn without_token(name: &str) -> Self {
        let directory = crate::scratch(&format!("hsm-{name}")).expect("a directory");
        let tokens = directory.join("tokens");
        fs::create_dir(&tokens).expect("a directory");
        let configuration = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        fs::write(directory.join("softhsm2.conf"), configuration).expect("a file");
        let found = MODULES.iter().map(Path::new).find(|path| path.is_file());
        let module = found.expect("the module of SoftHSM2").to_owned();
        Self { directory, module }
    }

    /// The module.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// What the module needs.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The environment of the module.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let configuration = self.directory.join("softhsm2.conf");
        let configuration = configuration.to_str().expect("a path in UTF-8");
        BTreeMap::from([("SOFTHSM2_CONF".into(), configuration.into())])
    }

    /// Makes a key of a type, such as `rsa:2048` or `EC:prime256v1`, and gives its SubjectPublicKeyInfo, DER.
    pub fn generate(&self, kind: &str, id: &str, more: &[&str]) -> Vec<u8> {
        let login = ["--login", "--pin", PIN];
        let make = [
            "--keypairgen",
            "--key-type",
            kind,
            "--id",
            id,
            "--label",
            kind,
        ];
        self.tool(&[&login, &make[..], more].concat());
        let file = self.directory.join("public.der");
        let path = file.to_str().expect("a path in UTF-8");
        self.tool(&[
            "--read-object",
            "--type",
            "pubkey",
            "--id",
            id,
            "--output-file",
            path,
        ]);
        fs::read(file).expect("a public key")
    }

    /// Brings in a key that was made elsewhere (PKCS#8, PEM).
    pub fn import(&self, key: &str, id: &str) {
        let file = self.directory.join("key.pem");
        fs::write(&file, key).expect("a file");
        let path = file.to_str().expect("a path in UTF-8");
        let import = [
            "--import", path, "--token", LABEL, "--label", id, "--id", id, "--pin", PIN,
        ];
        self.run("softhsm2-util", &import);
    }

    /// Writes an object (`cert`, `data`), with further arguments of `pkcs11-tool`.
    pub fn write(&self, kind: &str, content: &[u8], more: &[&str]) {
        let file = self.directory.join("object");
        fs::write(&file, content).expect("a file");
        let path = file.to_str().expect("a path in UTF-8");
        let write = [
            "--login",
            "--pin",
            PIN,
            "--write-object",
            path,
            "--type",
            kind,
        ];
        self.tool(&[&write[..], more].concat());
    }

    /// Has the security officer write a certificate (DER), marked `CKA_TRUSTED`; what is missing otherwise.
    pub fn write_trusted(&self, certificate: &[u8]) -> Result<(), String> {
        if program("p11tool").is_none() || program("openssl").is_none() {
            return Err("gnutls-bin or openssl is not installed".into());
        }
        let file = self.directory.join("trusted.der");
        fs::write(&file, certificate).expect("a file");
        let der = file.to_str().expect("a path in UTF-8");
        let path = &format!("{der}.pem");
        self.run(
            "openssl",
            &["x509", "-inform", "DER", "-in", der, "-out", path],
        );
        let module = self.module.to_str().expect("a path in UTF-8");
        let token = format!("pkcs11:token={}", LABEL.replace(' ', "%20"));
        let officer = [
            "--provider",
            module,
            "--batch",
            "--so-login",
            "--set-so-pin",
            SO_PIN,
        ];
        let write = [
            "--write",
            "--trusted",
            "--load-certificate",
            path,
            "--label",
            "anchor",
            &token,
        ];
        self.run("p11tool", &[&officer[..], &write].concat());
        Ok(())
    }

    fn tool(&self, arguments: &[&str]) {
        let module = self.module.to_str().expect("a path in UTF-8");
        let token = ["--module", module, "--token-label", LABEL];
        self.run("pkcs11-tool", &[&token[..], arguments].concat());
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        let output = command.args(arguments).envs(self.environment()).output();
        let output = output.expect("a program that starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {said}");
    }
}

impl Drop for Hsm {
    fn drop(&mut self) {
        let _stays = fs::remove_dir_all(&self.directory);
    }
}
