//! What a component may import: the granted interfaces are linked, those of WASI that every language's runtime
//! names are linked as traps, and anything else makes the component unusable.

use wasmtime::Engine;
use wasmtime::component::{Component, HasSelf, Linker};

use super::bindings::imports::bailiwick::{env, host, types};
use super::imports::State;
use crate::plugins::messages::Interface;

/// The interface of `wit/` that an import names; `None` for one that is not a capability.
enum Import {
    /// A capability.
    Interface(Interface),
    /// Shared types, or WASI, which is never served: calling it traps.
    Harmless,
    /// Not of any contract that we know.
    Unknown,
}

/// Which capability the import `name` (as in the component, version included) stands for.
fn classify(name: &str) -> Import {
    if name.starts_with("wasi:") {
        return Import::Harmless;
    }
    let Some(name) = name.strip_suffix("@0.1.0") else {
        return Import::Unknown;
    };
    Import::Interface(match name {
        "bailiwick:types/types" => return Import::Harmless,
        "bailiwick:host/logging" => Interface::Logging,
        "bailiwick:host/call-context" => Interface::CallContext,
        "bailiwick:host/config" => Interface::Config,
        "bailiwick:host/storage" => Interface::Storage,
        "bailiwick:host/notify" => Interface::Notify,
        "bailiwick:host/session" => Interface::Session,
        "bailiwick:host/accounts" => Interface::Accounts,
        "bailiwick:host/certificates" => Interface::Certificates,
        "bailiwick:host/applications" => Interface::Applications,
        "bailiwick:host/net" => Interface::Net,
        "bailiwick:host/os" => Interface::Os,
        "bailiwick:env/device" => Interface::Device,
        _ => return Import::Unknown,
    })
}

/// A sentence for each import that is not granted; empty: the component asks for no more than it may have.
pub fn refusals(imports: &[impl AsRef<str>], grants: &[Interface]) -> Vec<String> {
    imports
        .iter()
        .map(AsRef::as_ref)
        .filter_map(|name| match classify(name) {
            Import::Harmless => None,
            Import::Interface(interface) if grants.contains(&interface) => None,
            Import::Interface(_) => Some(format!("it imports {name}, which was not granted")),
            Import::Unknown => Some(format!("it imports {name}, which this host does not know")),
        })
        .collect()
}

/// A linker with what is granted, checked against the component.
pub(super) fn linker(
    engine: &Engine,
    component: &Component,
    grants: &[Interface],
) -> wasmtime::Result<Linker<State>> {
    let component_type = component.component_type();
    let imports: Vec<&str> = component_type
        .imports(engine)
        .map(|(name, _)| name)
        .collect();
    let refused = refusals(&imports, grants);
    if !refused.is_empty() {
        return Err(wasmtime::Error::msg(refused.join("; ")));
    }
    let mut linker = Linker::new(engine);
    types::types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    for grant in grants {
        add(&mut linker, *grant)?;
    }
    linker.define_unknown_imports_as_traps(component)?;
    Ok(linker)
}

fn add(linker: &mut Linker<State>, interface: Interface) -> wasmtime::Result<()> {
    type Own = HasSelf<State>;
    match interface {
        Interface::Logging => host::logging::add_to_linker::<_, Own>(linker, |state| state),
        Interface::CallContext => {
            host::call_context::add_to_linker::<_, Own>(linker, |state| state)
        }
        Interface::Config => host::config::add_to_linker::<_, Own>(linker, |state| state),
        Interface::Storage => host::storage::add_to_linker::<_, Own>(linker, |state| state),
        Interface::Notify => host::notify::add_to_linker::<_, Own>(linker, |state| state),
        Interface::Session => host::session::add_to_linker::<_, Own>(linker, |state| state),
        Interface::Accounts => host::accounts::add_to_linker::<_, Own>(linker, |state| state),
        Interface::Certificates => {
            host::certificates::add_to_linker::<_, Own>(linker, |state| state)
        }
        Interface::Applications => {
            host::applications::add_to_linker::<_, Own>(linker, |state| state)
        }
        Interface::Net => host::net::add_to_linker::<_, Own>(linker, |state| state),
        Interface::Os => host::os::add_to_linker::<_, Own>(linker, |state| state),
        Interface::Device => env::device::add_to_linker::<_, Own>(linker, |state| state),
    }
}
