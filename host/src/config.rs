//! The operator's configuration, typed: every default and every limit, each limit with the abuse
//! that it stops.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// `bailiwick.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Directory of the store, the code cache and the device's keys; made with mode 0700.
    pub state: PathBuf,
    /// Path of the admin socket; its directory must exist. Unix sockets allow about 100 bytes.
    pub admin_socket: PathBuf,
    /// A group whose members may use the admin socket too: its name in `/etc/group`, or its number. They may do
    /// everything that the operator may.
    pub admin_group: Option<String>,
    /// Directories of installed plug-ins, each with `plugin.toml` and `plugin.wasm`.
    #[serde(default)]
    pub plugins: Vec<PluginSource>,
    /// What device policy lets authorities do on instances that the device itself owns.
    #[serde(default)]
    pub policy: Vec<PolicyRule>,
    /// Socket for local applications that an authority lets in by their certificates; absent: there is none. Its
    /// directory must exist.
    pub apps_socket: Option<PathBuf>,
    /// Where private keys are besides files: smart cards and PKCS#11 modules.
    #[serde(default)]
    pub keys: Keys,
    /// Which cards speak for which authority; a card that no line binds is read by `bailiwick cards` and provisions
    /// nothing.
    #[serde(default)]
    pub card: Vec<CardBinding>,
    /// What happens where the kernel lacks Landlock or seccomp.
    #[serde(default)]
    pub isolation: Isolation,
    /// Every limit.
    #[serde(default)]
    pub limits: Limits,
    /// Only for tests of bailiwick itself. Unfit for devices; `status` shows what is set here.
    #[serde(default)]
    pub testing: Testing,
}

/// Where a plug-in lies and what the operator says about it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PluginSource {
    /// The plug-in's directory, relative to the configuration file.
    pub path: PathBuf,
    /// Interfaces that the operator grants; absent: all that the manifest asks for, without the
    /// privileged ones (`accounts`, `certificates`, `applications`, `net`, `os`), which must be named.
    pub grant: Option<Vec<String>>,
    /// Overrides of the manifest's settings.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
}

/// A standing rule of the device: `rights` for `authority` on device-owned instances of `moid`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyRule {
    /// A `SrvID`, or `*` for every authority that has an account.
    pub authority: String,
    /// The Management Object type.
    pub moid: String,
    /// `read`, `write`, `execute`, `delegate`.
    pub rights: Vec<String>,
}

/// Where private keys are besides files.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keys {
    /// Whether smart-card readers are watched; absent: if a `[[card]]` line binds a card.
    pub cards: Option<bool>,
    /// pcscd's socket, where it is not the one that libpcsclite was built for.
    pub pcsc_socket: Option<PathBuf>,
    /// PKCS#11 modules. They are native code of their vendors, and run in the keys process.
    pub module: Vec<Pkcs11Module>,
    /// One command to a card, milliseconds. Real cards take up to 1500 for an RSA signature.
    pub apdu_ms: u32,
    /// Reading a whole card. Stops a card that answers slowly without end.
    pub read_ms: u64,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            cards: None,
            pcsc_socket: None,
            module: Vec::new(),
            apdu_ms: 5_000,
            read_ms: 60_000,
        }
    }
}

/// A PKCS#11 module and what it needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pkcs11Module {
    /// The shared library.
    pub path: PathBuf,
    /// Label of the token that is used.
    pub token: String,
    /// Whether certificates that it marks `CKA_TRUSTED` may become anchors: only where that means that the security
    /// officer has put them there. OpenSC's module marks every certificate of a CA, whoever wrote it.
    #[serde(default)]
    pub trusted: bool,
    /// Files and directories that it may read.
    #[serde(default)]
    pub read: Vec<PathBuf>,
    /// Files and directories that it may write too.
    #[serde(default)]
    pub write: Vec<PathBuf>,
    /// Environment variables that it reads, such as `SOFTHSM2_CONF`.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
}

/// A card that speaks for an authority. All that is written has to hold, and at least one of `issuer`, `certificate` and
/// `serial` is written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CardBinding {
    /// `SrvID` of the authority.
    pub authority: String,
    /// File with a CA certificate: the card proves a key whose certificate that CA has issued.
    pub issuer: Option<PathBuf>,
    /// SHA-256 of a certificate, hexadecimal: the card proves its key.
    pub certificate: Option<String>,
    /// ICCID or serial number. Alone it is a weak binding: any card can claim it.
    pub serial: Option<String>,
    /// File with the card's PIN, readable by the daemon alone.
    pub pin_file: Option<PathBuf>,
    /// What the certificates of the card are for: `sessions`, `applications`, `export:STORE`, or a label.
    #[serde(default = "sessions")]
    pub purposes: Vec<String>,
    /// What becomes of them, and of accounts that the card brought, when it goes.
    #[serde(default)]
    pub on_removal: OnRemoval,
}

fn sessions() -> Vec<String> {
    vec!["sessions".into()]
}

/// What becomes of what a card gave when it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnRemoval {
    /// It rests until the same card is back.
    #[default]
    Suspend,
    /// It is removed, accounts and their instances included.
    Remove,
}

/// How strictly each process must lock itself in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Refuse to start where the kernel cannot enforce Landlock and seccomp.
    #[default]
    Required,
    /// Enforce what the kernel offers; `status` shows what is missing.
    BestEffort,
}

/// Switches that make a daemon worse on purpose, so that a test can show that it notices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Testing {
    /// Whether a commit survives a power cut.
    pub durability: Durability,
}

/// Whether what the store has committed survives a power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// A commit is on the disk when it returns.
    #[default]
    Full,
    /// Nothing is ever synchronised to the disk: the crash tests must find damage with this. Unfit for devices.
    Off,
}

/// Every limit of the daemon. Times in milliseconds, sizes in bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Limits {
    /// One call to a plug-in. Stops a plug-in that spins or sleeps.
    pub call_ms: u64,
    /// Linear memory of one sandbox. Stops a plug-in that allocates without end.
    pub memory_bytes: usize,
    /// Elements of all tables of one sandbox. Stops a plug-in that grows tables.
    pub table_elements: usize,
    /// Live resource handles of one sandbox. Stops a plug-in that leaks handles.
    pub handles: usize,
    /// What one call into the host may make the host allocate. Stops giant lists.
    pub hostcall_bytes: usize,
    /// Log bytes a second and sandbox. Stops a plug-in that floods the log.
    pub log_bytes_per_second: usize,
    /// Calls waiting for one sandbox. Stops a queue that grows behind a slow plug-in.
    pub queue: usize,
    /// Nodes that one read may return. Stops trees without end.
    pub nodes: u32,
    /// Storage of one namespace (an MO instance, or a plug-in for an authority). Stops a disk filler.
    pub storage_bytes: usize,
    /// Traps in a row after which a plug-in is quarantined for its authority.
    pub traps: u32,
    /// After how much rest a sandbox is dropped; its worker goes with the last one.
    pub idle_ms: u64,
    /// Compiling one component. Stops code that is made to compile for ever.
    pub compile_ms: u64,
    /// A component file. Stops a download that fills memory.
    pub component_bytes: usize,
    /// One message between two processes of ours.
    pub message_bytes: usize,
    /// A package from a server (OMA DM 2.0 states no limit). Stops a body without end.
    pub package_bytes: usize,
    /// A body from a data repository that is kept in memory.
    pub object_bytes: usize,
    /// Connecting, handshake and one request, each. Stops a server that never answers.
    pub request_ms: u64,
    /// A whole session. Stops a server that never says END.
    pub session_ms: u64,
    /// Packages of one session. Stops a server that talks for ever.
    pub packages: u32,
    /// First wait before a session or worker is tried again; doubles up to `retry_max_ms`.
    pub retry_ms: u64,
    /// Longest wait between two tries.
    pub retry_max_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            call_ms: 2_000,
            memory_bytes: 16 << 20,
            table_elements: 20_000,
            handles: 1_000,
            hostcall_bytes: 4 << 20,
            log_bytes_per_second: 16 << 10,
            queue: 32,
            nodes: 20_000,
            storage_bytes: 4 << 20,
            traps: 3,
            idle_ms: 60_000,
            compile_ms: 120_000,
            component_bytes: 64 << 20,
            message_bytes: 8 << 20,
            package_bytes: 1 << 20,
            object_bytes: 8 << 20,
            request_ms: 30_000,
            session_ms: 600_000,
            packages: 1_000,
            retry_ms: 1_000,
            retry_max_ms: 300_000,
        }
    }
}

impl Limits {
    /// Deadline of one call to a plug-in.
    pub fn call(&self) -> Duration {
        Duration::from_millis(self.call_ms)
    }

    /// Deadline of one request to a server.
    pub fn request(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }
}

/// Why a configuration was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what is described here.
    #[error("{path}: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        message: String,
    },
}

impl Config {
    /// Reads a configuration; relative paths in it are taken from the file's own directory.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.into(),
            source,
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|e| ConfigError::Parse {
            path: path.into(),
            message: e.to_string(),
        })?;
        let base = std::path::absolute(path)
            .ok()
            .and_then(|path| path.parent().map(Path::to_owned))
            .unwrap_or_default();
        config.state = base.join(&config.state);
        config.admin_socket = base.join(&config.admin_socket);
        for plugin in &mut config.plugins {
            plugin.path = base.join(&plugin.path);
        }
        config.make_absolute(&base);
        Ok(config)
    }

    /// Whether smart-card readers are watched.
    pub fn watches_cards(&self) -> bool {
        self.keys.cards.unwrap_or(!self.card.is_empty())
    }

    fn make_absolute(&mut self, base: &Path) {
        let modules = self.keys.module.iter_mut();
        let of_modules = modules.flat_map(|module| {
            module
                .read
                .iter_mut()
                .chain(&mut module.write)
                .chain([&mut module.path])
        });
        let cards = self.card.iter_mut();
        let of_cards = cards.flat_map(|card| card.issuer.iter_mut().chain(&mut card.pin_file));
        let sockets = self
            .apps_socket
            .iter_mut()
            .chain(&mut self.keys.pcsc_socket);
        for path in of_modules.chain(of_cards).chain(sockets) {
            *path = base.join(&*path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durability_is_off_only_where_it_is_written_under_testing() {
        let parse = |more: &str| {
            let text = format!("state = 'state'\nadmin-socket = 'admin'\n{more}");
            toml::from_str::<Config>(&text).map(|config| config.testing.durability)
        };
        assert_eq!(parse(""), Ok(Durability::Full));
        assert_eq!(parse("[testing]"), Ok(Durability::Full));
        assert_eq!(parse("[testing]\ndurability = 'off'"), Ok(Durability::Off));
        assert!(parse("durability = 'off'").is_err());
        assert!(parse("[testing]\ndurability = 'none'").is_err());
    }
}
