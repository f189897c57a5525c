//! What the host offers a plug-in, a module an interface. Importing one costs a grant: name it in `plugin.toml`.
//!
//! On a device these are calls to the host; natively they go to the [`Harness`](crate::testing::Harness).

#[cfg(not(target_arch = "wasm32"))]
use crate::testing::imports as bailiwick;

#[cfg(target_arch = "wasm32")]
use crate::bindings::base::bailiwick;

/// Structured log (`logging`). The host adds plug-in, authority and call, and limits the volume.
pub mod log {
    pub use crate::bindings::base::bailiwick::host::logging::Level;

    /// Writes one line with fields.
    pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
        let fields: Vec<(String, String)> = fields
            .iter()
            .map(|&(name, value)| (name.into(), value.into()))
            .collect();
        super::bailiwick::host::logging::log(level, message, &fields);
    }

    /// Every step.
    pub fn trace(message: &str) {
        write(Level::Trace, message, &[]);
    }

    /// For the author of the plug-in.
    pub fn debug(message: &str) {
        write(Level::Debug, message, &[]);
    }

    /// For the operator of the device.
    pub fn info(message: &str) {
        write(Level::Info, message, &[]);
    }

    /// Something is odd and was handled.
    pub fn warn(message: &str) {
        write(Level::Warn, message, &[]);
    }

    /// Something failed.
    pub fn error(message: &str) {
        write(Level::Error, message, &[]);
    }
}

/// The call being served (`call-context`). For information: access control has been enforced already.
pub mod call {
    pub use crate::bindings::base::bailiwick::host::call_context::CallInfo;

    /// The call being served.
    pub fn current() -> CallInfo {
        super::bailiwick::host::call_context::current()
    }
}

/// Settings from the manifest, overridden by the operator (`config`).
pub mod config {
    /// The setting, if there is one.
    pub fn get(key: &str) -> Option<String> {
        super::bailiwick::host::config::get(key)
    }

    /// All settings, sorted by key.
    pub fn get_all() -> Vec<(String, String)> {
        super::bailiwick::host::config::get_all()
    }
}

/// Durable state (`storage`). What is written during a command is kept if the command succeeds.
///
/// The host picks the namespace: that of the instance for a call that addresses one, the plug-in's own
/// for every other call and for the classes marked `shared-storage` in the manifest.
pub mod storage {
    use crate::Result;

    pub use crate::bindings::base::bailiwick::host::storage::Entry;

    /// The value, if there is one.
    pub fn get(key: &str) -> Result<Option<Vec<u8>>> {
        super::bailiwick::host::storage::get(key)
    }

    /// Keys and values that start with the prefix, in key order.
    pub fn scan(prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
        super::bailiwick::host::storage::scan(prefix)
    }

    /// Writes all entries or none.
    pub fn commit(entries: &[Entry]) -> Result<()> {
        super::bailiwick::host::storage::commit(entries)
    }

    /// Writes one value.
    pub fn put(key: &str, value: &[u8]) -> Result<()> {
        commit(&[Entry::put(key, value)])
    }

    /// Deletes one value; it is no error if there is none.
    pub fn delete(key: &str) -> Result<()> {
        commit(&[Entry::delete(key)])
    }

    impl Entry {
        /// Writes a value.
        pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
            Self {
                key: key.into(),
                value: Some(value.into()),
            }
        }

        /// Deletes a key.
        pub fn delete(key: impl Into<String>) -> Self {
            Self {
                key: key.into(),
                value: None,
            }
        }
    }
}

/// Tell the authority that something happened (`notify`).
pub mod notify {
    use crate::Result;

    pub use crate::bindings::base::bailiwick::host::notify::Alert;

    /// Queues an alert for the authority on whose behalf the call runs.
    pub fn raise_alert(alert: &Alert) -> Result<()> {
        super::bailiwick::host::notify::raise_alert(alert)
    }
}

/// The session that the call belongs to (`session`).
pub mod session {
    pub use crate::bindings::base::bailiwick::host::session::Bearer;

    /// What the session runs over; `None` outside a session.
    pub fn current_bearer() -> Option<Bearer> {
        super::bailiwick::host::session::current_bearer()
    }
}

/// The DM accounts that the host keeps (`accounts`, privileged).
pub mod accounts {
    use crate::Result;

    pub use crate::bindings::base::bailiwick::host::accounts::Account;

    /// The accounts that the call may see: on behalf of an authority, its own.
    pub fn list() -> Result<Vec<Account>> {
        super::bailiwick::host::accounts::list()
    }
}

/// The certificates that the host keeps for an authority (`certificates`, privileged).
pub mod certificates {
    use crate::Result;

    pub use crate::bindings::base::bailiwick::host::certificates::{Certificate, Role};

    /// The certificates of the authority on whose behalf the call runs.
    pub fn list() -> Result<Vec<Certificate>> {
        super::bailiwick::host::certificates::list()
    }

    /// Gives the device an anchor or an intermediate (DER); returns its id.
    pub fn add(role: Role, der: &[u8], purposes: &[String]) -> Result<String> {
        super::bailiwick::host::certificates::add(role, der, purposes)
    }

    /// Takes back what the authority has given itself.
    pub fn remove(id: &str, role: Role) -> Result<()> {
        super::bailiwick::host::certificates::remove(id, role)
    }
}

/// What local applications may do (`applications`, privileged).
pub mod applications {
    use crate::Result;

    pub use crate::bindings::base::bailiwick::host::applications::{Grant, Principal, Rights};

    /// Gives rights on an instance to whom the authority certifies.
    pub fn give(to: &Principal, on: &str, rights: Rights, not_after: Option<u64>) -> Result<()> {
        super::bailiwick::host::applications::give(to, on, rights, not_after)
    }

    /// Takes away what the authority gave so.
    pub fn take(to: &Principal, on: &str) -> Result<()> {
        super::bailiwick::host::applications::take(to, on)
    }

    /// What the authority has given so.
    pub fn list() -> Result<Vec<Grant>> {
        super::bailiwick::host::applications::list()
    }
}

/// Facts about the device, from the environment (`device`).
pub mod device {
    use crate::{Identity, Result};

    /// Who the device is.
    pub fn identity() -> Result<Identity> {
        super::bailiwick::env::device::get_identity()
    }

    /// Named facts; no names means all.
    pub fn facts(names: &[&str]) -> Result<Vec<(String, String)>> {
        let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
        super::bailiwick::env::device::get_facts(&names)
    }
}

/// Outbound connections (`net`, privileged).
pub mod net {
    use crate::Result;

    pub use super::bailiwick::host::net::ByteStream;
    pub use crate::bindings::base::bailiwick::host::net::{Candidate, NetworkInterface};

    /// Addresses of a host name, or an address literal itself, in the resolver's order.
    pub fn resolve(host: &str) -> Result<Vec<String>> {
        super::bailiwick::host::net::resolve(host)
    }

    /// Tries the candidates in order, each `stagger_ms` (10 to 10 000) after the one before; the first to connect wins.
    pub fn connect(candidates: &[Candidate], stagger_ms: u32) -> Result<ByteStream> {
        super::bailiwick::host::net::connect(candidates, stagger_ms)
    }

    /// Interfaces that are up, without loopback.
    pub fn interfaces() -> Result<Vec<NetworkInterface>> {
        super::bailiwick::host::net::interfaces()
    }
}

/// Directories and commands that manifest and operator name (`os`, privileged).
pub mod os {
    use crate::Result;

    pub use crate::bindings::base::bailiwick::host::os::CommandOutput;

    /// Reads a file below a granted root, at most `max_len` bytes of it.
    pub fn read_file(root: &str, path: &str, max_len: u32) -> Result<Vec<u8>> {
        super::bailiwick::host::os::read_file(root, path, max_len)
    }

    /// Names in a directory below a granted root, sorted.
    pub fn list_dir(root: &str, path: &str) -> Result<Vec<String>> {
        super::bailiwick::host::os::list_dir(root, path)
    }

    /// Where a symbolic link below a granted root points to.
    pub fn read_link(root: &str, path: &str) -> Result<String> {
        super::bailiwick::host::os::read_link(root, path)
    }

    /// Runs a command template of the manifest; `arguments` fill its slots.
    pub fn run(command: &str, arguments: &[&str]) -> Result<CommandOutput> {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
        super::bailiwick::host::os::run(command, &arguments)
    }
}
