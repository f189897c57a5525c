//! What the operator is told about the daemon as a whole.

use std::time::Instant;

use super::plan::Plans;
use super::rooms::Rooms;
use super::start::AgentError;
use crate::accounts::{Account, IdentityRef};
use crate::authority::Authority;
use crate::certificates::{Credential, Purpose, Role};
use crate::config::{Config, Isolation};
use crate::isolation::{Enforcement, Protection};
use crate::local::{AccountStatus, LastSession, Protected, SessionStatus, Status, Worker, now};
use crate::plugins::PluginStatus;
use crate::store::Durability;

pub(super) fn of(rooms: &Rooms, plans: &Plans) -> Result<Status, AgentError> {
    let accounts = of_accounts(rooms, plans)?;
    let plugins = rooms.plugins.status();
    let mut warnings = warnings(&rooms.config, rooms.protection, rooms.store.durability());
    warnings.extend(warnings_of_plugins(&plugins));
    if rooms.plugins.transports().is_empty() && !accounts.is_empty() {
        warnings.push("no transport is installed, so no server can be reached; install one".into());
    }
    let worker = |(authority, process): (Authority, u32)| Worker {
        authority: authority.to_string(),
        process,
    };
    Ok(Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_seconds: rooms.ready.elapsed().as_secs(),
        isolation: Protected {
            policy: rooms.config.isolation,
            protection: rooms.protection,
        },
        workers: rooms.plugins.workers().into_iter().map(worker).collect(),
        keys: rooms.keys.status(),
        accounts,
        plugins,
        limits: limits(&rooms.config),
        warnings,
    })
}

pub(super) fn of_accounts(rooms: &Rooms, plans: &Plans) -> Result<Vec<AccountStatus>, AgentError> {
    let accounts = rooms.accounts.list()?;
    accounts
        .into_iter()
        .map(|account| of_account(rooms, plans, account))
        .collect()
}

fn of_account(rooms: &Rooms, plans: &Plans, account: Account) -> Result<AccountStatus, AgentError> {
    let Account {
        authority,
        name,
        srv_uri,
        miid,
        identity,
        origin,
        suspended,
        ..
    } = account;
    let tx = rooms.store.begin();
    let has_card_identity = Credential::of(&tx, &authority)?.iter().any(|credential| {
        credential.serves(&Purpose::Sessions) && matches!(credential.role, Role::Identity { .. })
    });
    let last = rooms.sessions.last(&authority)?.map(|last| LastSession {
        seconds_ago: now().saturating_sub(last.started),
        succeeded: last.error.is_none(),
        outcome: last.error.unwrap_or_else(|| match last.commands {
            1 => "ended by the server after 1 command".to_owned(),
            commands => format!("ended by the server after {commands} commands"),
        }),
    });
    let next_try = plans.next_try(&authority);
    let sessions = SessionStatus {
        running: rooms.sessions.is_running(&authority),
        retry_in_seconds: next_try
            .map(|due| due.saturating_duration_since(Instant::now()).as_secs()),
        last,
    };
    Ok(AccountStatus {
        permitted: rooms.permissions.permitted_moids(&tx, &authority)?,
        authority: authority.to_string(),
        name,
        server: srv_uri,
        instance: miid,
        identity: identity != IdentityRef::None || has_card_identity,
        origin: origin.to_string(),
        suspended: suspended.map(|why| why.to_string()),
        sessions,
    })
}

/// Those that an operator meets, by their names in the configuration.
fn limits(config: &Config) -> std::collections::BTreeMap<&'static str, u64> {
    let limits = &config.limits;
    let bytes = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    [
        ("call-ms", limits.call_ms),
        ("memory-bytes", bytes(limits.memory_bytes)),
        ("storage-bytes", bytes(limits.storage_bytes)),
        ("package-bytes", bytes(limits.package_bytes)),
        ("object-bytes", bytes(limits.object_bytes)),
        ("nodes", u64::from(limits.nodes)),
        ("session-ms", limits.session_ms),
        ("traps", u64::from(limits.traps)),
    ]
    .into()
}

/// What makes this daemon weaker than it should be on a device.
fn warnings(config: &Config, protection: Protection, durability: Durability) -> Vec<String> {
    let mut warnings = Vec::new();
    if durability == Durability::Off {
        warnings.push(
            "testing.durability is off: a power cut may lose or damage what was committed; remove it".into(),
        );
    }
    if config.isolation == Isolation::BestEffort {
        for (what, enforced) in [
            ("Landlock", protection.landlock),
            ("seccomp", protection.seccomp),
        ] {
            if enforced != Enforcement::Full {
                warnings.push(format!(
                    "the kernel does not fully enforce {what}: plug-ins are held by their sandboxes alone where it is \
                     missing; boot a kernel that does"
                ));
            }
        }
    }
    if rustix::process::geteuid().is_root() {
        warnings.push("the daemon runs as root; give it a user of its own".into());
    }
    warnings
}

fn warnings_of_plugins(plugins: &[PluginStatus]) -> impl Iterator<Item = String> {
    plugins.iter().flat_map(|plugin| {
        let quarantined = plugin.sandboxes.iter().filter(|sandbox| sandbox.quarantined);
        quarantined.map(|sandbox| {
            let (name, authority) = (&plugin.name, &sandbox.authority);
            format!("{name} is quarantined for {authority}; `bailiwick plugins release {name}` lets it try again")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_weaker_than_it_should_be_is_said() {
        let config = |isolation: &str| -> Config {
            toml::from_str(&format!(
                "state = '/s'\nadmin-socket = '/a'\nisolation = '{isolation}'"
            ))
            .unwrap()
        };
        let missing = Protection {
            landlock: Enforcement::Missing,
            seccomp: Enforcement::Full,
        };
        let said = |isolation, durability| {
            let said = warnings(&config(isolation), missing, durability);
            said.into_iter()
                .filter(|text| !text.contains("runs as root"))
                .collect::<Vec<_>>()
        };
        assert_eq!(said("required", Durability::Full), Vec::<String>::new());
        let both = said("best-effort", Durability::Off);
        assert_eq!(both.len(), 2);
        assert!(both[0].contains("power cut") && both[1].contains("Landlock"));
    }
}
