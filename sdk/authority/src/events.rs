//! What happens in a running server, for tests and dashboards.

use bailiwick_protocol::{Alert, Package1};
use std::{net::SocketAddr, sync::Arc};
use tokio::sync::broadcast;

use crate::{
    device::DeviceId,
    policy::{CommandResult, Order},
};

/// Events that may wait for an observer; one that is slower misses the oldest. Stops it from filling memory.
const WAITING_EVENTS: usize = 4_096;

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// A device sent Package#1.
    Opened {
        /// The device.
        device: DeviceId,
        /// What it sent.
        package: Arc<Package1>,
    },
    /// A device is being sent these commands.
    Sent {
        /// The device.
        device: DeviceId,
        /// The commands, in order.
        orders: Vec<Order>,
    },
    /// A command is done with; it is in the journal already, and the policy knows.
    Result {
        /// The device.
        device: DeviceId,
        /// The command and its status.
        result: CommandResult,
    },
    /// A device reported something of its own accord; it is in the journal already.
    Alert {
        /// The device.
        device: DeviceId,
        /// The number of the package: 1 or 3.
        package: u8,
        /// What it reported.
        alert: Alert,
    },
    /// A device was sent END.
    Ended {
        /// The device.
        device: DeviceId,
    },
    /// A device sent data to the repository; it is in the journal already.
    Uploaded {
        /// The device.
        device: DeviceId,
        /// Below `uploads/<device>/`.
        name: String,
        /// Its size.
        bytes: u64,
    },
    /// A request was answered with an error.
    Refused {
        /// From where.
        peer: SocketAddr,
        /// The device, if its certificate is known.
        device: Option<DeviceId>,
        /// The HTTP status.
        status: u16,
        /// What the device was told.
        reason: String,
    },
    /// A TLS handshake failed: no client certificate, or one of another CA, or no TLS at all.
    HandshakeFailed {
        /// From where.
        peer: SocketAddr,
        /// Why.
        reason: String,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Events(broadcast::Sender<Event>);

impl Events {
    pub(crate) fn new() -> Self {
        Events(broadcast::channel(WAITING_EVENTS).0)
    }

    pub(crate) fn send(&self, event: Event) {
        // Nobody may be listening.
        let _ = self.0.send(event);
    }

    pub(crate) fn observe(&self) -> Observer {
        Observer(self.0.subscribe())
    }
}

/// Sees what happens from the moment when it was made.
#[derive(Debug)]
pub struct Observer(broadcast::Receiver<Event>);

impl Observer {
    /// The next event; `None` when the server is gone.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::warn!("an observer was too slow and missed {missed} events");
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Waits for the result of the queued command `id` of `device`; `None` when the server is gone. Skips other events.
    pub async fn result(&mut self, device: &DeviceId, id: u64) -> Option<CommandResult> {
        loop {
            if let Event::Result { device: of, result } = self.next().await?
                && of == *device
                && result.order.id == Some(id)
            {
                return Some(result);
            }
        }
    }

    /// Waits until `device` is sent END; `None` when the server is gone. Skips other events.
    pub async fn ended(&mut self, device: &DeviceId) -> Option<()> {
        loop {
            if matches!(self.next().await?, Event::Ended { device: of } if of == *device) {
                return Some(());
            }
        }
    }
}
