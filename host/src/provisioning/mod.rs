//! What we are given: certificates and accounts from cards, files and enrolment; read, checked, planned, applied in one
//! transaction, written down, and taken back when their source goes.
//!
//! ```text
//!  policy   which card speaks for whom        document   a bootstrap object
//!  prove    which keys it holds                give      one certificate, from any source
//!  plan     what it would change (pure)  ─▶  step  ─▶  apply, audit
//!  cards    when: they come and go             lifecycle  what rests without them (pure)
//! ```

mod apply;
mod audit;
mod cards;
mod document;
mod error;
mod give;
mod import;
mod lifecycle;
mod plan;
mod policy;
mod prove;
mod step;

#[cfg(test)]
mod testing;

pub use apply::{AccountCommand, Applied, Provisioning};
pub use audit::{Entry, Refused as RefusedEntry, record};
pub use cards::{Cards, SeenCard, place_name};
pub use document::DM_BOOTSTRAP;
pub use error::ProvisioningError;
pub use give::{MAX_OF_EACH, Offer, Refused, add, withdraw};
pub use import::{Import, ImportError, Secret, import};
pub use plan::{LinePlan, Plan, Refusal, There, plan};
pub use policy::{Line, Policy, PolicyError};
pub use prove::Proofs;
pub use step::{Shown, Step};
