//! From the traits to the exports of a component: behind [`export!`](crate::export!).

/// Makes a type the plug-in: `export!(object T)`, `export!(transport T)` or `export!(environment T)`.
///
/// Once per crate, which must be a `cdylib`. The plug-in's name and version are those of the package. Natively the macro
/// only checks that the type fits.
#[macro_export]
macro_rules! export {
    (object $plugin:ty) => {
        $crate::__export!($plugin, ManagementObject, object, export_object);
    };
    (transport $plugin:ty) => {
        $crate::__export!($plugin, Transport, transport, export_transport);
    };
    (environment $plugin:ty) => {
        $crate::__export!($plugin, Environment, environment, export_environment);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($plugin:ty, $kind:ident, $world:ident, $export:ident) => {
        #[cfg(not(target_arch = "wasm32"))]
        const _: fn(&mut $plugin) -> $crate::Result<()> = <$plugin as $crate::$kind>::health;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            struct Component;

            impl $crate::export::Component for Component {
                type Plugin = $plugin;

                fn with_plugin<R>(serve: impl FnOnce(&mut $plugin) -> R) -> R {
                    ::std::thread_local! {
                        static PLUGIN: ::std::cell::RefCell<$plugin> = ::std::default::Default::default();
                    }
                    PLUGIN.with_borrow_mut(serve)
                }
            }

            impl $crate::export::lifecycle::Guest for Component {
                fn init(
                    reason: $crate::StartReason,
                ) -> $crate::Result<$crate::export::lifecycle::PluginInfo> {
                    $crate::export::log_panics();
                    <Self as $crate::export::Component>::with_plugin(|plugin| {
                        <$plugin as $crate::$kind>::init(plugin, reason)
                    })?;
                    let features = <$plugin as $crate::$kind>::FEATURES;
                    ::std::result::Result::Ok($crate::export::lifecycle::PluginInfo {
                        name: ::std::env!("CARGO_PKG_NAME").into(),
                        version: ::std::env!("CARGO_PKG_VERSION").into(),
                        features: features.iter().map(|&feature| feature.into()).collect(),
                    })
                }

                fn health() -> $crate::Result<()> {
                    <Self as $crate::export::Component>::with_plugin(
                        <$plugin as $crate::$kind>::health,
                    )
                }
            }

            $crate::bindings::base::export_lifecycle!(
                Component with_types_in $crate::bindings::base
            );
            $crate::bindings::$world::$export!(
                Component with_types_in $crate::bindings::$world
            );
        };
    };
}

#[cfg(target_arch = "wasm32")]
pub use component::*;

/// The other half of the exports: what does not depend on the crate of the plug-in.
#[cfg(target_arch = "wasm32")]
#[allow(missing_docs, reason = "only the macro uses it")]
mod component {
    use crate::bindings::{environment, object, transport};
    use crate::log::{self, Level};
    use crate::{
        Change, Endpoint, Environment, ExecOutcome, ManagementObject, MoClass, Node, NodeRef,
        ReadOptions, Result, Transport,
    };
    use environment::exports::bailiwick::env::device;
    use object::exports::bailiwick::mo::handler;
    use transport::exports::bailiwick::transport::dialer;

    pub use crate::bindings::base::exports::bailiwick::lifecycle::plugin as lifecycle;

    /// A component that holds one plug-in. Calls never overlap: a sandbox is not re-entered.
    pub trait Component {
        type Plugin;

        fn with_plugin<R>(serve: impl FnOnce(&mut Self::Plugin) -> R) -> R;
    }

    /// Sends the message of a panic to the log; standard error, the default, does not exist.
    pub fn log_panics() {
        std::panic::set_hook(Box::new(|panic| {
            let message = panic.payload_as_str().unwrap_or("panicked");
            let place = panic
                .location()
                .map(ToString::to_string)
                .unwrap_or_default();
            log::write(Level::Error, message, &[("panic", &place)]);
        }));
    }

    impl<C: Component<Plugin: ManagementObject>> handler::Guest for C {
        fn classes() -> Result<Vec<MoClass>> {
            C::with_plugin(|plugin| plugin.classes())
        }

        fn instances(mo: String) -> Result<Vec<String>> {
            C::with_plugin(|plugin| plugin.instances(&mo))
        }

        fn create_instance(mo: String, instance: String, initial: Vec<Node>) -> Result<()> {
            C::with_plugin(|plugin| plugin.create_instance(&mo, &instance, initial))
        }

        fn delete_instance(mo: String, instance: String) -> Result<()> {
            C::with_plugin(|plugin| plugin.delete_instance(&mo, &instance))
        }

        fn read(target: NodeRef, options: ReadOptions) -> Result<Vec<Node>> {
            C::with_plugin(|plugin| plugin.read(&target, options))
        }

        fn apply(mo: String, instance: String, changes: Vec<Change>) -> Result<()> {
            C::with_plugin(|plugin| plugin.apply(&mo, &instance, changes))
        }

        fn execute(target: NodeRef) -> Result<ExecOutcome> {
            C::with_plugin(|plugin| plugin.execute(&target))
        }
    }

    impl<C: Component<Plugin: Transport>> dialer::Guest for C {
        fn bearers() -> Result<Vec<crate::Bearer>> {
            C::with_plugin(|plugin| plugin.bearers())
        }

        fn dial(to: Endpoint, preferred: crate::Bearer) -> Result<dialer::Connection> {
            let crate::Connection { stream, bearer } =
                C::with_plugin(|plugin| plugin.dial(&to, preferred))?;
            Ok(dialer::Connection {
                connection: stream,
                bearer,
            })
        }
    }

    impl<C: Component<Plugin: Environment>> device::Guest for C {
        fn get_identity() -> Result<device::Identity> {
            let identity = C::with_plugin(|plugin| plugin.identity())?;
            Ok(device::Identity {
                device_id: identity.device_id,
                manufacturer: identity.manufacturer,
                model: identity.model,
                device_type: identity.device_type,
                oem: identity.oem,
                hardware_version: identity.hardware_version,
                firmware_version: identity.firmware_version,
                software_version: identity.software_version,
                language: identity.language,
            })
        }

        fn get_facts(names: Vec<String>) -> Result<Vec<(String, String)>> {
            C::with_plugin(|plugin| plugin.facts(&names))
        }
    }
}
