//! What one sandbox may use up of memory, over all its memories and tables together: a component may have many.

use wasmtime::{Error, ResourceLimiter, Result};

use crate::plugins::messages::SandboxLimits;

/// Core instances, memories and tables that a component may be made of. Real ones have 4, 1 and 2.
const INSTANCES: usize = 32;
const MEMORIES: usize = 8;
const TABLES: usize = 32;

/// The limiter of one sandbox.
#[derive(Debug)]
pub(super) struct Limiter {
    memory: Share,
    tables: Share,
}

impl Limiter {
    pub(super) fn new(limits: &SandboxLimits) -> Self {
        Self {
            memory: Share::new("bytes of memory", limits.memory_bytes),
            tables: Share::new("elements of tables", limits.table_elements),
        }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.memory.grow(current, desired, maximum)
    }

    fn memory_grow_failed(&mut self, error: Error) -> Result<()> {
        Err(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool> {
        self.tables.grow(current, desired, maximum)
    }

    fn table_grow_failed(&mut self, error: Error) -> Result<()> {
        Err(error)
    }

    fn instances(&self) -> usize {
        INSTANCES
    }

    fn memories(&self) -> usize {
        MEMORIES
    }

    fn tables(&self) -> usize {
        TABLES
    }
}

/// One kind of thing that all parts of a sandbox share.
#[derive(Debug)]
struct Share {
    what: &'static str,
    limit: usize,
    used: usize,
}

impl Share {
    fn new(what: &'static str, limit: usize) -> Self {
        Self {
            what,
            limit,
            used: 0,
        }
    }

    /// `Ok(false)`: the guest's own declared maximum is reached, which it is told. Beyond the limit it traps.
    fn grow(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let wanted = self.used.saturating_add(desired.saturating_sub(current));
        if wanted > self.limit {
            return Err(Error::msg(format!(
                "it wants {wanted} {}; its limit is {}",
                self.what, self.limit
            )));
        }
        self.used = wanted;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_and_all_tables_share_one_limit() {
        let mut share = Share::new("bytes", 100);
        assert!(share.grow(0, 60, None).unwrap());
        assert!(!share.grow(60, 80, Some(70)).unwrap(), "its own maximum");
        assert!(share.grow(0, 40, None).unwrap(), "another memory");
        assert!(share.grow(40, 40, None).unwrap(), "no growth");
        let error = share.grow(40, 41, None).unwrap_err();
        assert_eq!(error.to_string(), "it wants 101 bytes; its limit is 100");
        assert!(share.grow(0, usize::MAX, None).is_err());
    }
}
