//! Bailiwick: the device side of OMA Device Management 2.0.
//!
//! The rooms, in reading order. Arrows go down only (`tests/architecture.rs`):
//!
//! ```text
//! 7  cli, agent                 what can wake the daemon, and how it is told
//! 6  session, local             how we talk; who else is here
//! 5  provisioning               what we are given
//! 4  objects, accounts          what is managed; whom we know
//! 3  plugins                    who does the work (worker, compile: ... and where)
//! 2  permissions, certificates  who may do what; who is it
//! 1  store, keys                where it is kept; who holds the keys
//! 0  authority, config, isolation, wire
//! ```

pub mod agent;
pub mod cli;

pub mod local;
pub mod session;

pub mod provisioning;

pub mod accounts;
pub mod objects;

pub mod plugins;
pub mod worker;

pub mod certificates;
pub mod permissions;

pub mod keys;
pub mod store;

pub mod authority;
pub mod config;
pub mod isolation;
pub mod wire;
