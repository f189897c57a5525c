//! Where it is kept: one durable, ordered key-value store, and a transaction per command.

/// Writes that wait for the end of a command.
#[derive(Debug, Default)]
pub struct Transaction {}
