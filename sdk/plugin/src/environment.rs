//! Environments: the trait behind the export of `bailiwick:env/device`.

use crate::{Identity, Result, StartReason};

/// An operating system or runtime on the device. It may stand on another one: see [`device`](crate::device).
pub trait Environment: Default + 'static {
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

    /// Who the device is. Leave empty what cannot be told.
    fn identity(&mut self) -> Result<Identity>;

    /// Named facts beyond the identity. Unknown names are left out; no names means all.
    fn facts(&mut self, names: &[String]) -> Result<Vec<(String, String)>> {
        let _ = names;
        Ok(Vec::new())
    }
}
