//! Transports: the trait behind `bailiwick:transport/dialer`.

use crate::{Bearer, Result, StartReason, net::ByteStream};

pub use crate::bindings::transport::exports::bailiwick::transport::dialer::Endpoint;

/// A way to reach a server. It hands an open connection back; TLS and HTTP over it are the host's.
pub trait Transport: Default + 'static {
    /// Optional features, for discovery.
    const FEATURES: &'static [&'static str] = &[];

    /// First call of a fresh sandbox; short, and repeated after a trap. May check the [`config`](crate::config).
    fn init(&mut self, reason: StartReason) -> Result<()> {
        let _ = reason;
        Ok(())
    }

    /// A cheap self test.
    fn health(&mut self) -> Result<()> {
        Ok(())
    }

    /// Bearers over which this transport can dial right now, best first.
    fn bearers(&mut self) -> Result<Vec<Bearer>>;

    /// Connects. `preferred` is a wish, [`Bearer::Unknown`] means any.
    fn dial(&mut self, to: &Endpoint, preferred: Bearer) -> Result<Connection>;
}

/// An open connection and what it runs over.
#[derive(Debug)]
pub struct Connection {
    /// Handed over to the host.
    pub stream: ByteStream,
    /// As far as the transport knows; never a guess.
    pub bearer: Bearer,
}
