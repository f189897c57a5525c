//! Generated from `wit/`.

pub mod object {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "bailiwick:plugin/mo-plugin",
        generate_all,
        pub_export_macro: true,
        export_macro_name: "__export_object",
        default_bindings_module: "bailiwick_plugin::bindings::object",
    });
}
