//! The engine: one configuration for the process that compiles and those that run, and the one function
//! that loads compiled code.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};
use wasmtime::component::Component;
use wasmtime::{Config, CustomCodeMemory, Engine, ModuleVersionStrategy};

/// Names the settings below; raise it whenever one of them changes.
const PROFILE: &str = "3";

/// What compiled code is bound to: the full version of the engine and our settings. Wasmtime itself would
/// take code of any patch release, miscompiled code among it.
pub fn version() -> String {
    format!(
        "wasmtime-{}+profile-{PROFILE}-{}",
        env!("WASMTIME_VERSION"),
        std::env::consts::ARCH
    )
}

/// The engine of a worker or of the compiler. `memory_bytes` reserves address space, no more than one sandbox may use.
pub fn new() -> wasmtime::Result<Engine> {
    // Asked for now: a worker that has locked itself in cannot learn it any more.
    let mapped = Mapped {
        page_bytes: rustix::param::page_size(),
    };
    let mut config = Config::new();
    config
        .concurrency_support(false)
        .epoch_interruption(true)
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        // A trap is told by its reason; what only debuggers read is left out of the code, which each worker holds.
        .generate_address_map(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(None)
        // Copy-on-write images need files, which a worker can neither open nor make.
        .memory_init_cow(false)
        .memory_reservation(16 << 20)
        .memory_guard_size(64 << 10)
        .memory_reservation_for_growth(1 << 20)
        .max_wasm_stack(256 << 10)
        .async_stack_size(512 << 10)
        .with_custom_code_memory(Some(Arc::new(mapped)))
        .module_version(ModuleVersionStrategy::Custom(version()))?;
    #[cfg(feature = "compiler")]
    config.cranelift_opt_level(wasmtime::OptLevel::Speed);
    Engine::new(&config)
}

/// Code is mapped executable and never writable, so the engine has nothing to change about it.
struct Mapped {
    page_bytes: usize,
}

impl CustomCodeMemory for Mapped {
    fn required_alignment(&self) -> usize {
        self.page_bytes
    }

    fn publish_executable(&self, _: *const u8, _: usize) -> wasmtime::Result<()> {
        Ok(())
    }

    fn unpublish_executable(&self, _: *const u8, _: usize) -> wasmtime::Result<()> {
        Ok(())
    }
}

/// Loads compiled code from a descriptor. All workers that map it share its pages. The mapping has to live longer than
/// whatever was made of the component.
///
/// # Safety
///
/// Compiled code is as powerful as this process. The host hands over only memory files that it has sealed against
/// writing, with content whose authentication code (`plugins::cache`) it checked after sealing; nothing else may be
/// passed here. This is the only `unsafe` function of the code base.
#[allow(
    unsafe_code,
    reason = "loading compiled code is what wasmtime declares unsafe"
)]
pub(super) unsafe fn load(engine: &Engine, code: OwnedFd) -> wasmtime::Result<(Mmap, Component)> {
    let mut file = File::from(code);
    // Neither `stat` nor a mapping by path: a worker may make no system call that can name one.
    let length = usize::try_from(file.seek(SeekFrom::End(0))?)?;
    // SAFETY: the file is sealed, so the mapping never changes.
    let mapping = unsafe { MmapOptions::new().len(length).map_exec(&file) }?;
    let memory = NonNull::from(&*mapping);
    // SAFETY: the caller's promise is the one that wasmtime asks for; the mapping outlives the component.
    let component = unsafe { Component::deserialize_raw(engine, memory) }?;
    Ok((mapping, component))
}
