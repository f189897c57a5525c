//! What we are given: certificates and accounts from cards, files and enrolment; read, checked, planned, applied in one
//! transaction, written down, and taken back when their source goes.

mod give;
mod policy;

pub use give::{MAX_OF_EACH, Offer, Refused, add, withdraw};
pub use policy::{Line, Policy, PolicyError};
