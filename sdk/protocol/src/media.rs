//! Media types of DM 2.0. Those of the MO serialization stand in [`crate::object`].

/// Package#1 (OMA DM 2.0 §5.2).
pub const MEDIA_INITIATION: &str = "application/vnd.oma.dm.initiation+json";

/// Package#2 (OMA DM 2.0 §5.2).
pub const MEDIA_REQUEST: &str = "application/vnd.oma.dm.request+json";

/// Package#3 (OMA DM 2.0 §5.2).
pub const MEDIA_RESPONSE: &str = "application/vnd.oma.dm.response+json";

/// Package#0.
// choice: no registered name is known.
pub const MEDIA_NOTIFICATION: &str = "application/vnd.oma.dm.notification";

/// A DDF document, as registered with IANA.
pub const MEDIA_DDF: &str = "application/vnd.syncml.dmddf+xml";
