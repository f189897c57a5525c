//! TCP over IPv4 and IPv6: resolves a host name and tries its addresses as RFC 8305 ("happy eyeballs") says.
//!
//! What the plug-in decides is an ordered list of candidates; the host opens the sockets. A preferred
//! bearer puts interfaces of its kind first.

mod candidates;

use bailiwick_plugin::net::{self, NetworkInterface};
use bailiwick_plugin::{
    Bearer, Connection, Endpoint, Error, Result, StartReason, Transport, config,
};

/// The transport.
#[derive(Default)]
pub struct Tcp {
    settings: Settings,
}

impl Transport for Tcp {
    fn init(&mut self, _reason: StartReason) -> Result<()> {
        self.settings = Settings::read()?;
        Ok(())
    }

    fn bearers(&mut self) -> Result<Vec<Bearer>> {
        let mut kinds: Vec<Bearer> = net::interfaces()?.iter().map(|up| up.kind).collect();
        kinds.sort_by_key(|&kind| rank(kind));
        kinds.dedup();
        Ok(kinds)
    }

    fn dial(&mut self, to: &Endpoint, preferred: Bearer) -> Result<Connection> {
        let up = net::interfaces()?;
        let first_choice = preferred_interfaces(&up, preferred, self.settings.strict_bearer)?;
        let addresses = candidates::interleave(&net::resolve(&to.host)?);
        if addresses.is_empty() {
            let text = format!(
                "{} has no address; check the SrvURI of the account",
                to.host
            );
            return Err(Error::unavailable(text));
        }
        let anywhere = !self.settings.strict_bearer || first_choice.is_empty();
        let list = candidates::list(&addresses, to.port, &first_choice, anywhere);
        let stream = net::connect(&list, self.settings.stagger_ms)?;
        let bearer = match anywhere {
            true => only_bearer(&up, &stream.peer()),
            false => preferred,
        };
        Ok(Connection { stream, bearer })
    }
}

bailiwick_plugin::export!(transport Tcp);

/// What the operator may set.
struct Settings {
    stagger_ms: u32,
    strict_bearer: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            stagger_ms: 250,
            strict_bearer: false,
        }
    }
}

impl Settings {
    fn read() -> Result<Self> {
        let mut settings = Self::default();
        if let Some(text) = config::get("stagger-ms") {
            let number = text
                .parse()
                .ok()
                .filter(|number| (10..=10_000).contains(number));
            settings.stagger_ms = number.ok_or_else(|| {
                Error::invalid_argument(format!(
                    "stagger-ms is `{text}`; set a number from 10 to 10000"
                ))
            })?;
        }
        if let Some(text) = config::get("strict-bearer") {
            settings.strict_bearer = text.parse().map_err(|_| {
                Error::invalid_argument(format!("strict-bearer is `{text}`; set true or false"))
            })?;
        }
        Ok(settings)
    }
}

/// Names of the interfaces to try first; none if any will do.
fn preferred_interfaces(
    up: &[NetworkInterface],
    preferred: Bearer,
    strict: bool,
) -> Result<Vec<String>> {
    if preferred == Bearer::Unknown {
        return Ok(Vec::new());
    }
    let of_that_kind = up.iter().filter(|interface| interface.kind == preferred);
    let names: Vec<String> = of_that_kind
        .map(|interface| interface.name.clone())
        .collect();
    if names.is_empty() && strict {
        let text = format!(
            "no {} interface is up and strict-bearer is set",
            name(preferred)
        );
        return Err(Error::unavailable(text));
    }
    Ok(names)
}

/// What a connection that may have left by any interface runs over: known only if there is one kind of them.
/// A connection inside the device runs over no bearer.
fn only_bearer(up: &[NetworkInterface], peer: &str) -> Bearer {
    match up {
        [first, rest @ ..] if !candidates::is_loopback(peer) => {
            match rest.iter().all(|interface| interface.kind == first.kind) {
                true => first.kind,
                false => Bearer::Unknown,
            }
        }
        _ => Bearer::Unknown,
    }
}

/// Best first: cables neither fade nor cost by volume.
fn rank(kind: Bearer) -> u8 {
    match kind {
        Bearer::Wireline => 0,
        Bearer::Wlan => 1,
        Bearer::Cellular => 2,
        Bearer::Unknown => 3,
    }
}

fn name(kind: Bearer) -> &'static str {
    match kind {
        Bearer::Wireline => "wireline",
        Bearer::Wlan => "WLAN",
        Bearer::Cellular => "cellular",
        Bearer::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests;
