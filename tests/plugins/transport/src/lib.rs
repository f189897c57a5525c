//! A transport that dials in the way that its setting `behaviour` names.

use bailiwick_plugin::net::{self, ByteStream, Candidate};
use bailiwick_plugin::{Bearer, Connection, Endpoint, Error, Result, Transport, config};

/// The transport.
#[derive(Default)]
pub struct Hostile {
    kept: Vec<ByteStream>,
}

impl Transport for Hostile {
    fn bearers(&mut self) -> Result<Vec<Bearer>> {
        Ok(vec![Bearer::Wireline])
    }

    fn dial(&mut self, to: &Endpoint, _preferred: Bearer) -> Result<Connection> {
        let stream = match config::get("behaviour").as_deref() {
            Some("elsewhere") => elsewhere(to)?,
            Some("hoard") => self.hoard(to)?,
            Some("stale") => self.stale(to)?,
            Some("many-candidates") => {
                net::connect(&vec![candidate(&to.host, to.port); 5_000], 10)?
            }
            Some("spin") => loop {
                std::hint::black_box(0);
            },
            _ => connect(to)?,
        };
        Ok(Connection {
            stream,
            bearer: Bearer::Wireline,
        })
    }
}

bailiwick_plugin::export!(transport Hostile);

impl Hostile {
    /// Opens connections until the host has had enough.
    fn hoard(&mut self, to: &Endpoint) -> Result<ByteStream> {
        for _ in 0..100_000 {
            match connect(to) {
                Ok(stream) => self.kept.push(stream),
                Err(error) => {
                    self.kept.clear();
                    return Err(error);
                }
            }
        }
        Err(Error::other("it was allowed"))
    }

    /// Keeps the first connection, which belongs to another call, and hands it over in the next one.
    fn stale(&mut self, to: &Endpoint) -> Result<ByteStream> {
        if let Some(stream) = self.kept.pop() {
            return Ok(stream);
        }
        self.kept.push(connect(to)?);
        connect(to)
    }
}

/// Tries every place but the one that it was told. The first that it reaches is the answer.
fn elsewhere(to: &Endpoint) -> Result<ByteStream> {
    let other_port = to.port.wrapping_add(1);
    let places = [
        ("127.0.0.2", to.port),
        ("::1", to.port),
        ("::ffff:127.0.0.1", to.port),
        ("0.0.0.0", to.port),
        ("169.254.169.254", 80),
        (to.host.as_str(), other_port),
        (to.host.as_str(), 0),
    ];
    for (address, port) in places {
        // Alone, and behind a candidate that is allowed.
        let lists = [
            vec![candidate(address, port)],
            vec![candidate(&to.host, to.port), candidate(address, port)],
        ];
        for list in lists {
            match net::connect(&list, 10) {
                Err(Error::NotPermitted) => {}
                Err(other) => return Err(other),
                Ok(stream) => return Ok(stream),
            }
        }
    }
    for name in ["localhost", "example.com", "127.0.0.2"] {
        match net::resolve(name) {
            Err(Error::NotPermitted) => {}
            Err(other) => return Err(other),
            Ok(found) => return Err(Error::other(format!("{name} was resolved: {found:?}"))),
        }
    }
    Err(Error::NotPermitted)
}

fn connect(to: &Endpoint) -> Result<ByteStream> {
    net::resolve(&to.host)?;
    net::connect(&[candidate(&to.host, to.port)], 10)
}

fn candidate(address: &str, port: u16) -> Candidate {
    Candidate {
        address: address.into(),
        port,
        via: None,
    }
}
