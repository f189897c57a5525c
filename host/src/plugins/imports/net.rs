//! `bailiwick:host/net`: the host resolves, connects and keeps the connections; a transport decides which addresses
//! are tried. A call may connect only to the endpoint that it was asked to dial.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::plugins::PluginError;
use crate::plugins::messages::{Bearer, Candidate};

/// Most addresses of a name, and most candidates of one connect.
const CANDIDATES: usize = 32;
/// Most connections that one call may have open.
const OPEN: usize = 32;

/// Connections that transports opened and the host has not taken over yet.
#[derive(Default)]
pub struct Connections {
    open: RefCell<HashMap<u32, (u64, TcpStream)>>,
    next: Cell<u32>,
}

impl Connections {
    /// Keeps a connection that `call` opened; its number. `None`, and it is closed: the call holds too many.
    pub fn keep(&self, call: u64, stream: TcpStream) -> Option<u32> {
        let mut open = self.open.borrow_mut();
        if open.values().filter(|(by, _)| *by == call).count() >= OPEN {
            return None;
        }
        let number = self.next.get().wrapping_add(1);
        self.next.set(number);
        open.insert(number, (call, stream));
        Some(number)
    }

    /// Hands a connection over.
    pub fn take(&self, number: u32) -> Option<TcpStream> {
        self.open
            .borrow_mut()
            .remove(&number)
            .map(|(_, stream)| stream)
    }

    /// Closes a connection, if `call` opened it.
    pub fn close(&self, call: u64, number: u32) {
        self.open
            .borrow_mut()
            .retain(|open, (by, _)| *open != number || *by != call);
    }

    /// Closes what `call` opened, except the one that it hands over. `false`: it does not have that one.
    pub fn end_of_call(&self, call: u64, handed_over: Option<u32>) -> bool {
        let mut held = false;
        self.open.borrow_mut().retain(|open, (by, _)| {
            let hands_over = *by == call && Some(*open) == handed_over;
            held |= hands_over;
            *by != call || hands_over
        });
        held
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }
}

/// The endpoint that a call was asked to dial, and the addresses that its name has.
#[derive(Debug)]
pub struct Target {
    host: String,
    port: u16,
    addresses: RefCell<BTreeSet<IpAddr>>,
}

impl Target {
    /// Of a `dial` to `host` and `port`.
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            addresses: RefCell::default(),
        }
    }

    /// Addresses of `host`, which must be the endpoint's.
    pub async fn resolve(&self, host: &str) -> Result<Vec<String>, PluginError> {
        if host != self.host {
            return Err(PluginError::NotPermitted);
        }
        let found = tokio::net::lookup_host((host, self.port))
            .await
            .map_err(|error| PluginError::Unavailable(Some(format!("{host}: {error}"))))?;
        let mut texts = Vec::new();
        for address in found.take(CANDIDATES) {
            if self.addresses.borrow_mut().insert(address.ip()) {
                texts.push(address.ip().to_string());
            }
        }
        Ok(texts)
    }

    /// Connects to the first candidate that answers.
    pub async fn connect(
        &self,
        candidates: &[Candidate],
        stagger_ms: u32,
    ) -> Result<(TcpStream, SocketAddr), PluginError> {
        if candidates.is_empty() || candidates.len() > CANDIDATES {
            return Err(PluginError::InvalidArgument(Some(format!(
                "give 1 to {CANDIDATES} candidates"
            ))));
        }
        let stagger = Duration::from_millis(stagger_ms.clamp(10, 10_000).into());
        let mut waiting = Vec::new();
        for candidate in candidates.iter().rev() {
            waiting.push((self.admit(candidate)?, candidate.via.clone()));
        }
        let mut attempts = JoinSet::new();
        let mut last = None;
        while !waiting.is_empty() || !attempts.is_empty() {
            if let Some((address, via)) = waiting.pop() {
                attempts.spawn(attempt(address, via));
            }
            // The next one starts when its time has come, or as soon as one before it has failed.
            let turn = async {
                if waiting.is_empty() {
                    std::future::pending().await
                } else {
                    tokio::time::sleep(stagger).await
                }
            };
            tokio::select! {
                Some(ended) = attempts.join_next() => match ended {
                    Ok(Ok(connected)) => return Ok(connected),
                    Ok(Err(error)) => last = Some(error.to_string()),
                    Err(error) => last = Some(error.to_string()),
                },
                () = turn => {}
            }
        }
        Err(PluginError::Unavailable(last))
    }

    fn admit(&self, candidate: &Candidate) -> Result<SocketAddr, PluginError> {
        let address: IpAddr = candidate.address.parse().map_err(|_| {
            PluginError::InvalidArgument(Some(format!(
                "{:?} is not an IP address",
                candidate.address
            )))
        })?;
        let literal = self.host.parse() == Ok(address);
        if candidate.port != self.port || !(literal || self.addresses.borrow().contains(&address)) {
            return Err(PluginError::NotPermitted);
        }
        Ok(SocketAddr::new(address, candidate.port))
    }
}

async fn attempt(
    address: SocketAddr,
    via: Option<String>,
) -> std::io::Result<(TcpStream, SocketAddr)> {
    let socket = if address.is_ipv6() {
        TcpSocket::new_v6()?
    } else {
        TcpSocket::new_v4()?
    };
    if let Some(interface) = via {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok((stream, address))
}

/// Interfaces that are up, without loopback, and the kind of their link.
pub fn interfaces() -> Result<Vec<(String, Bearer)>, PluginError> {
    let unavailable = |error: std::io::Error| PluginError::Unavailable(Some(error.to_string()));
    let base = std::path::Path::new("/sys/class/net");
    let text = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let mut found = Vec::new();
    for entry in std::fs::read_dir(base).map_err(unavailable)?.take(256) {
        let path = entry.map_err(unavailable)?.path();
        let Some(name) = path
            .file_name()
            .and_then(|name| name.to_str())
            .map(str::to_owned)
        else {
            continue;
        };
        let loopback = text(path.join("type")).trim() == "772";
        let state = text(path.join("operstate"));
        if loopback || !matches!(state.trim(), "up" | "unknown") {
            continue;
        }
        let uevent = text(path.join("uevent"));
        let kind = if uevent.lines().any(|line| line == "DEVTYPE=wwan") {
            Bearer::Cellular
        } else if path.join("phy80211").exists()
            || uevent.lines().any(|line| line == "DEVTYPE=wlan")
        {
            Bearer::Wlan
        } else if path.join("device").exists() && text(path.join("type")).trim() == "1" {
            Bearer::Wireline
        } else {
            Bearer::Unknown
        };
        found.push((name, kind));
    }
    found.sort_by(|one, other| one.0.cmp(&other.0));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(address: &str, port: u16) -> Candidate {
        Candidate {
            address: address.into(),
            port,
            via: None,
        }
    }

    #[tokio::test]
    async fn the_first_that_answers_wins_and_the_dead_one_costs_no_wait() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let target = Target::new("localhost", port);
        target
            .addresses
            .borrow_mut()
            .extend(["127.0.0.1", "::1", "127.0.0.9"].map(|a| a.parse::<IpAddr>().unwrap()));
        // Nobody listens on ::1; a stagger of 10 s would be felt if failure did not start the next attempt.
        let both = [candidate("::1", port), candidate("127.0.0.1", port)];
        let (_, address) = target.connect(&both, 10_000).await.unwrap();
        assert_eq!(address.ip().to_string(), "127.0.0.1");
        assert!(matches!(
            target.connect(&[candidate("::1", port)], 10).await,
            Err(PluginError::Unavailable(_))
        ));
    }

    #[tokio::test]
    async fn a_call_hands_over_what_it_has_opened_itself() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::default();
        let open = async |call| connections.keep(call, TcpStream::connect(address).await.unwrap());
        let (first, second, other) = (open(1).await, open(1).await, open(2).await);
        assert!(connections.end_of_call(1, second));
        assert!(connections.take(first.unwrap()).is_none(), "not closed");
        assert!(connections.take(second.unwrap()).is_some());
        assert!(!connections.end_of_call(3, other), "of another call");
        assert!(!connections.end_of_call(3, first), "closed long ago");
        assert!(
            connections.take(other.unwrap()).is_some(),
            "closed by another call"
        );
        for _ in 0..OPEN {
            assert!(open(4).await.is_some());
        }
        assert!(open(4).await.is_none(), "more than a call may hold");
        assert!(!connections.end_of_call(4, None));
        assert!(connections.is_empty());
    }

    #[tokio::test]
    async fn only_the_endpoint_is_reached() {
        let target = Target::new("127.0.0.1", 443);
        for (address, port) in [("127.0.0.2", 443), ("127.0.0.1", 80), ("::1", 443)] {
            assert_eq!(
                target
                    .connect(&[candidate(address, port)], 10)
                    .await
                    .unwrap_err(),
                PluginError::NotPermitted
            );
        }
        assert!(matches!(
            target.connect(&[], 10).await,
            Err(PluginError::InvalidArgument(_))
        ));
        assert!(matches!(
            target.connect(&[candidate("host", 443)], 10).await,
            Err(PluginError::InvalidArgument(_))
        ));
        assert_eq!(
            target.resolve("example.com").await,
            Err(PluginError::NotPermitted)
        );
        assert_eq!(
            target.resolve("127.0.0.1").await,
            Ok(vec!["127.0.0.1".to_owned()])
        );
    }
}
