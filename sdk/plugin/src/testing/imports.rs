//! The imports as the fake host answers them: the same paths and signatures as the generated bindings.

use super::Device;
use crate::{Error, Result};
use std::cell::RefCell;
use std::rc::Rc;

thread_local! {
    /// The device behind the call that this thread is serving.
    static CURRENT: RefCell<Option<Rc<RefCell<Device>>>> = const { RefCell::new(None) };
}

/// Serves a call with this device behind the imports.
pub(super) fn with_device<R>(device: &Rc<RefCell<Device>>, serve: impl FnOnce() -> R) -> R {
    /// Ends the call even if the plug-in panics.
    struct Leave;
    impl Drop for Leave {
        fn drop(&mut self) {
            CURRENT.set(None);
        }
    }
    let _leave = Leave;
    CURRENT.set(Some(device.clone()));
    serve()
}

fn device<R>(answer: impl FnOnce(&mut Device) -> R) -> R {
    let Some(device) = CURRENT.with_borrow(Clone::clone) else {
        panic!(
            "the host can be asked during a call only; make the call through a `testing::Harness`"
        )
    };
    answer(&mut device.borrow_mut())
}

pub(crate) mod host {
    use super::{Error, Result, device};

    pub(crate) mod logging {
        use super::device;
        use crate::log::Level;
        use crate::testing::LogLine;

        pub(crate) fn log(level: Level, message: &str, fields: &[(String, String)]) {
            let line = LogLine {
                level,
                message: message.into(),
                fields: fields.to_vec(),
            };
            device(|device| device.log.push(line));
        }
    }

    pub(crate) mod call_context {
        use super::device;
        use crate::call::CallInfo;

        pub(crate) fn current() -> CallInfo {
            device(|device| CallInfo {
                id: device.calls,
                authority: device.authority.clone(),
                remaining_ms: 2_000,
            })
        }
    }

    pub(crate) mod config {
        use super::device;

        pub(crate) fn get(key: &str) -> Option<String> {
            device(|device| device.config.get(key).cloned())
        }

        pub(crate) fn get_all() -> Vec<(String, String)> {
            device(|device| device.config.clone().into_iter().collect())
        }
    }

    pub(crate) mod storage {
        use super::{Error, Result, device};
        use crate::storage::Entry;

        pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>> {
            check(key)?;
            Ok(device(|device| {
                device.storage.get(&device.namespace)?.get(key).cloned()
            }))
        }

        pub(crate) fn scan(prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
            Ok(device(|device| {
                let stored = device.storage.entry(device.namespace.clone()).or_default();
                let from = stored.range(prefix.to_string()..);
                from.take_while(|(key, _)| key.starts_with(prefix))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect()
            }))
        }

        pub(crate) fn commit(entries: &[Entry]) -> Result<()> {
            entries.iter().try_for_each(|entry| check(&entry.key))?;
            device(|device| {
                let stored = device.storage.entry(device.namespace.clone()).or_default();
                let mut changed = stored.clone();
                for Entry { key, value } in entries {
                    match value {
                        Some(value) => changed.insert(key.clone(), value.clone()),
                        None => changed.remove(key),
                    };
                }
                let bytes: usize = changed
                    .iter()
                    .map(|(key, value)| key.len() + value.len())
                    .sum();
                if bytes > device.quota {
                    return Err(Error::TooLarge);
                }
                *stored = changed;
                Ok(())
            })
        }

        fn check(key: &str) -> Result<()> {
            match key.len() {
                1..=512 => Ok(()),
                length => Err(Error::invalid_argument(format!(
                    "a key has 1 to 512 bytes, this one {length}"
                ))),
            }
        }
    }

    pub(crate) mod notify {
        use super::{Result, device};
        use crate::notify::Alert;

        pub(crate) fn raise_alert(alert: &Alert) -> Result<()> {
            device(|device| device.alerts.push(alert.clone()));
            Ok(())
        }
    }

    pub(crate) mod session {
        use super::device;
        use crate::Bearer;

        pub(crate) fn current_bearer() -> Option<Bearer> {
            device(|device| device.bearer)
        }
    }

    pub(crate) mod accounts {
        use super::{Result, device};
        use crate::accounts::Account;

        pub(crate) fn list() -> Result<Vec<Account>> {
            Ok(device(|device| device.accounts.clone()))
        }
    }

    pub(crate) mod certificates {
        use super::{Error, Result, device};
        use crate::certificates::{Certificate, Role};

        pub(crate) fn list() -> Result<Vec<Certificate>> {
            Ok(device(|device| device.certificates.clone()))
        }

        /// The fake takes any bytes but none, and names them by their number.
        pub(crate) fn add(role: Role, der: &[u8], purposes: &[String]) -> Result<String> {
            if der.is_empty() || purposes.is_empty() {
                return Err(Error::invalid_argument("no certificate, or no purpose"));
            }
            device(|device| {
                let same = |known: &&mut Certificate| known.role == role && known.der == der;
                if let Some(known) = device.certificates.iter_mut().find(same) {
                    known.removable = true;
                    return Ok(known.id.clone());
                }
                let id = format!("{:016x}", device.certificates.len());
                device.certificates.push(Certificate {
                    id: id.clone(),
                    role,
                    der: der.to_vec(),
                    purposes: purposes.to_vec(),
                    origins: vec!["the authority, in a session".into()],
                    removable: true,
                    state: "active".into(),
                    key_in: None,
                    subject: "CN=subject".into(),
                    issuer: "CN=issuer".into(),
                    serial_number: "01".into(),
                    not_before: "2026-01-01T00:00:00Z".into(),
                    not_after: "2027-01-01T00:00:00Z".into(),
                });
                Ok(id)
            })
        }

        pub(crate) fn remove(id: &str, role: Role) -> Result<()> {
            device(|device| {
                let same = |known: &Certificate| known.role == role && known.id == id;
                let place = device.certificates.iter().position(same);
                let place = place.ok_or(Error::NotFound)?;
                match device.certificates[place].removable {
                    true => drop(device.certificates.remove(place)),
                    false => return Err(Error::NotPermitted),
                }
                Ok(())
            })
        }
    }

    pub(crate) mod applications {
        use super::{Error, Result, device};
        use crate::applications::{Grant, Principal, Rights};

        pub(crate) fn give(
            to: &Principal,
            on: &str,
            rights: Rights,
            not_after: Option<u64>,
        ) -> Result<()> {
            let to = name(to);
            device(|device| {
                if device
                    .grants
                    .iter()
                    .any(|grant| grant.to == to && grant.on == on)
                {
                    return Err(Error::conflict("there is a grant already"));
                }
                let on = on.to_owned();
                device.grants.push(Grant {
                    to,
                    on,
                    rights,
                    not_after,
                });
                Ok(())
            })
        }

        pub(crate) fn take(to: &Principal, on: &str) -> Result<()> {
            let to = name(to);
            device(|device| {
                let before = device.grants.len();
                device
                    .grants
                    .retain(|grant| (&*grant.to, &*grant.on) != (&*to, on));
                match device.grants.len() < before {
                    true => Ok(()),
                    false => Err(Error::NotFound),
                }
            })
        }

        pub(crate) fn list() -> Result<Vec<Grant>> {
            Ok(device(|device| device.grants.clone()))
        }

        fn name(principal: &Principal) -> String {
            match principal {
                Principal::Subject(name) => format!("local:test/subject={name}"),
                Principal::Policy(name) => format!("local:test/policy={name}"),
            }
        }
    }

    pub(crate) mod net {
        use super::{Error, Result, device};
        use crate::net::{Candidate, NetworkInterface};
        use std::net::IpAddr;

        /// An open connection.
        #[derive(Debug)]
        pub struct ByteStream {
            peer: String,
        }

        impl ByteStream {
            /// Address and port of the peer.
            pub fn peer(&self) -> String {
                self.peer.clone()
            }
        }

        pub(crate) fn resolve(host: &str) -> Result<Vec<String>> {
            if host.parse::<IpAddr>().is_ok() {
                return Ok(vec![host.into()]);
            }
            device(|device| device.hosts.get(host).cloned()).ok_or(Error::NotFound)
        }

        pub(crate) fn connect(candidates: &[Candidate], stagger_ms: u32) -> Result<ByteStream> {
            if !(10..=10_000).contains(&stagger_ms) {
                return Err(Error::invalid_argument(
                    "stagger-ms is a number from 10 to 10000",
                ));
            }
            device(|device| {
                device.connects.push((candidates.to_vec(), stagger_ms));
                let reached = candidates.iter().find(|candidate| {
                    device.reachable.iter().any(|(address, over)| {
                        *address == candidate.address
                            && (over.is_none() || candidate.via.is_none() || *over == candidate.via)
                    })
                });
                let Some(Candidate { address, port, .. }) = reached else {
                    return Err(Error::unavailable("no candidate answers"));
                };
                Ok(ByteStream {
                    peer: match address.contains(':') {
                        true => format!("[{address}]:{port}"),
                        false => format!("{address}:{port}"),
                    },
                })
            })
        }

        pub(crate) fn interfaces() -> Result<Vec<NetworkInterface>> {
            Ok(device(|device| device.interfaces.clone()))
        }
    }

    pub(crate) mod os {
        use super::{Error, Result, device};
        use crate::os::CommandOutput;
        use std::collections::BTreeSet;

        pub(crate) fn read_file(root: &str, path: &str, max_len: u32) -> Result<Vec<u8>> {
            check(path)?;
            let place = (root.into(), path.into());
            let mut content =
                device(|device| device.files.get(&place).cloned()).ok_or(Error::NotFound)?;
            content.truncate(max_len as usize);
            Ok(content)
        }

        pub(crate) fn list_dir(root: &str, path: &str) -> Result<Vec<String>> {
            check(path)?;
            let names: BTreeSet<String> = device(|device| {
                let places = device.files.keys().chain(device.links.keys());
                places
                    .filter(|(known, _)| known == root)
                    .filter_map(|(_, file)| match path {
                        "" => Some(file.as_str()),
                        _ => file.strip_prefix(path)?.strip_prefix('/'),
                    })
                    .filter_map(|below| below.split('/').next())
                    .map(Into::into)
                    .collect()
            });
            match names.is_empty() {
                true => Err(Error::NotFound),
                false => Ok(names.into_iter().collect()),
            }
        }

        pub(crate) fn read_link(root: &str, path: &str) -> Result<String> {
            check(path)?;
            let place = (root.into(), path.into());
            device(|device| device.links.get(&place).cloned()).ok_or(Error::NotFound)
        }

        pub(crate) fn run(command: &str, arguments: &[String]) -> Result<CommandOutput> {
            let call = (command.into(), arguments.to_vec());
            device(|device| device.commands.get(&call).cloned()).ok_or(Error::NotPermitted)
        }

        /// The host's own rule is stricter: it also resolves links.
        fn check(path: &str) -> Result<()> {
            match path.starts_with('/') || path.split('/').any(|name| name == "..") {
                true => Err(Error::NotPermitted),
                false => Ok(()),
            }
        }
    }
}

pub(crate) mod env {
    pub(crate) mod device {
        use super::super::device;
        use crate::{Identity, Result};

        pub(crate) fn get_identity() -> Result<Identity> {
            device(|device| device.identity.clone())
        }

        pub(crate) fn get_facts(names: &[String]) -> Result<Vec<(String, String)>> {
            Ok(device(|device| {
                let facts = device.facts.clone().into_iter();
                facts
                    .filter(|(name, _)| names.is_empty() || names.contains(name))
                    .collect()
            }))
        }
    }
}
