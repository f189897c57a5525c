//! What to tell a device: the hook for an authority that decides by itself, and the queue as the usual policy.

use bailiwick_protocol::{Command, Package1, Status};
use std::error::Error;

use crate::{authority::Authority, device::DeviceId};

/// Why a policy could not decide. The device is told 500 and nothing more.
pub type PolicyError = Box<dyn Error + Send + Sync>;

/// A command to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The command.
    pub command: Command,
    /// Its number in the queue, if it comes from there.
    pub id: Option<u64>,
    /// How often it was sent before.
    pub sent: u32,
}

impl From<Command> for Order {
    fn from(command: Command) -> Self {
        Order {
            command,
            id: None,
            sent: 0,
        }
    }
}

/// A command that is done with.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandResult {
    /// What was sent.
    pub order: Order,
    /// What the device answered; `None` = it went out with END, to which devices do not answer.
    pub status: Option<Status>,
}

/// Decides what devices are told. Called on a thread of its own, which may block, for one package of a device at a time.
pub trait Policy: Send + Sync + 'static {
    /// The next commands. Called for Package#1, and again whenever all commands so far are answered; nothing = END.
    ///
    /// They are sent in this order, in as many packages as [`crate::Limits`] asks for. An END among them ends the session
    /// there: what goes out with it gets no status.
    fn commands(&self, device: &DeviceId, opened: &Package1) -> Result<Vec<Order>, PolicyError>;

    /// These are about to be sent.
    fn sending(&self, _device: &DeviceId, _orders: &[Order]) -> Result<(), PolicyError> {
        Ok(())
    }

    /// These are done with, and in the journal. A command that never gets here must be sent again, some time.
    fn results(&self, _device: &DeviceId, _results: &[CommandResult]) -> Result<(), PolicyError> {
        Ok(())
    }
}

/// The usual policy: what `bailiwick-authority queue` has queued. To add commands of your own, wrap it.
#[derive(Debug, Clone)]
pub struct QueuePolicy {
    authority: Authority,
}

impl QueuePolicy {
    /// Sends what is queued with this authority.
    pub fn new(authority: Authority) -> Self {
        QueuePolicy { authority }
    }
}

impl Policy for QueuePolicy {
    fn commands(&self, device: &DeviceId, _opened: &Package1) -> Result<Vec<Order>, PolicyError> {
        let queued = self.authority.queue(device)?.list()?;
        Ok(queued
            .into_iter()
            .map(|queued| Order {
                command: queued.command,
                id: Some(queued.id),
                sent: queued.sent,
            })
            .collect())
    }

    fn sending(&self, device: &DeviceId, orders: &[Order]) -> Result<(), PolicyError> {
        let ids: Vec<u64> = orders.iter().filter_map(|order| order.id).collect();
        if !ids.is_empty() {
            self.authority.queue(device)?.mark_sent(&ids)?;
        }
        Ok(())
    }

    fn results(&self, device: &DeviceId, results: &[CommandResult]) -> Result<(), PolicyError> {
        let ids: Vec<u64> = results
            .iter()
            .filter_map(|result| result.order.id)
            .collect();
        if !ids.is_empty() {
            self.authority.queue(device)?.remove(&ids)?;
        }
        Ok(())
    }
}
