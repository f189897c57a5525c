//! The host's side of what a plug-in may call, a file each.

pub mod storage;
