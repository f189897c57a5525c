//! `org.varlink.service`: what an interface of the daemon tells of itself.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::admin::read;
use super::varlink::Fault;

/// The interface that every service has.
const SERVICE: &str = "org.varlink.service";
/// Its description.
const SERVICE_DESCRIPTION: &str = include_str!("org.varlink.service.varlink");

/// Parameters of `GetInterfaceDescription`.
#[derive(Deserialize)]
struct GetInterfaceDescription {
    interface: String,
}

/// Answers a call of any interface but the one that is served there, whose name and description are `own`.
pub(super) fn answer(
    own: (&str, &str),
    (interface, method): (&str, &str),
    parameters: Map<String, Value>,
    full_name: &str,
) -> Result<Value, Fault> {
    if interface != SERVICE {
        return Err(Fault::interface_not_found(interface));
    }
    let (name, description) = own;
    match method {
        "GetInfo" => Ok(json!({
            "vendor": "Bailiwick",
            "product": "bailiwick",
            "version": env!("CARGO_PKG_VERSION"),
            "url": "",
            "interfaces": [SERVICE, name],
        })),
        "GetInterfaceDescription" => {
            let GetInterfaceDescription { interface } = read(parameters)?;
            match interface.as_str() {
                SERVICE => Ok(json!({ "description": SERVICE_DESCRIPTION })),
                asked if asked == name => Ok(json!({ "description": description })),
                other => Err(Fault::interface_not_found(other)),
            }
        }
        _ => Err(Fault::method_not_found(full_name)),
    }
}
