//! Package#0: asks a device to open a session. Made and signed here; carried by whatever reaches the device.

use aws_lc_rs::digest;
use bailiwick_protocol::{Bearer, Notification, NotificationError};
use std::time::SystemTime;
use thiserror::Error;

use crate::{
    authority::{Authority, AuthorityError},
    clock,
    device::DeviceId,
    pki::{self, PkiError},
};

/// What [`Authority::notification`] needs to know.
#[derive(Debug, Clone)]
pub struct Notify {
    /// Connections that the device should use, best first; 1 to 14 of them.
    pub bearers: Vec<Bearer>,
    /// True: the device lists its objects in Package#1.
    pub request_mos: bool,
    /// By which the device finds duplicates, and which it echoes; `None` = a random one.
    pub id: Option<u16>,
    /// When it is sent; devices drop what is old or was overtaken.
    pub time: SystemTime,
}

impl Default for Notify {
    fn default() -> Self {
        Notify {
            bearers: vec![Bearer::Any],
            request_mos: false,
            id: None,
            time: SystemTime::now(),
        }
    }
}

/// Why there is no notification.
#[derive(Debug, Error)]
pub enum NotifyError {
    /// It has no binary form.
    #[error(transparent)]
    Notification(#[from] NotificationError),
    /// The device is not known, or its record cannot be read.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// No random number.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

impl Authority {
    /// The binary form of a notification for `device`, signed with the secret that it got at enrolment.
    pub fn notification(&self, device: &DeviceId, notify: Notify) -> Result<Vec<u8>, NotifyError> {
        let key = self.device(device)?.notification;
        let id = match notify.id {
            Some(id) => id,
            None => pki::random_u16()?,
        };
        let mut notification = Notification::new(self.srv_id(), &notify.bearers)?
            .with_id(id)
            .with_timestamp(clock::unix_seconds(notify.time));
        if notify.request_mos {
            notification = notification.requesting_mos();
        }
        // The digest is made of the message with the place of the digest filled with zeros.
        let notification = notification.with_digest([0; 32]);
        let input = notification.digest_input(key.secret.as_bytes(), key.data.as_bytes());
        let mut sum = [0; 32];
        for (to, from) in sum
            .iter_mut()
            .zip(digest::digest(&digest::SHA256, &input).as_ref())
        {
            *to = *from;
        }
        Ok(notification.with_digest(sum).to_bytes())
    }
}
