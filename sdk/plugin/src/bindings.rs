//! What `wit-bindgen` makes of `wit/`. Raw: plug-ins use the wrappers and traits of this crate instead.
//!
//! The imports are generated once and the exports by kind of plug-in, because the life cycle is
//! common to all kinds and its export macro may exist only once in a crate. The worlds below cut
//! `wit/worlds.wit` accordingly; a component ends up with the imports that it uses and the exports
//! that [`export!`](crate::export!) gives it.
#![allow(
    missing_docs,
    reason = "generated from wit/, where the documentation is"
)]

/// Everything that a plug-in may import, and the life cycle that every plug-in exports.
pub mod base {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package bailiwick:sdk;
            world base {
                include bailiwick:plugin/base@0.1.0;
                import bailiwick:host/notify@0.1.0;
                import bailiwick:host/session@0.1.0;
                import bailiwick:host/accounts@0.1.0;
                import bailiwick:host/certificates@0.1.0;
                import bailiwick:host/applications@0.1.0;
                import bailiwick:host/net@0.1.0;
                import bailiwick:host/os@0.1.0;
                import bailiwick:env/device@0.1.0;
            }
        ",
        world: "bailiwick:sdk/base",
        generate_all,
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_lifecycle",
    });
}

/// The export of an object plug-in.
pub mod object {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package bailiwick:sdk;
            world object { export bailiwick:mo/handler@0.1.0; }
        ",
        world: "bailiwick:sdk/object",
        with: { "bailiwick:types/types@0.1.0": super::base::bailiwick::types::types },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_object",
    });
}

/// The export of a transport plug-in.
pub mod transport {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package bailiwick:sdk;
            world transport { export bailiwick:transport/dialer@0.1.0; }
        ",
        world: "bailiwick:sdk/transport",
        with: {
            "bailiwick:types/types@0.1.0": super::base::bailiwick::types::types,
            "bailiwick:host/net@0.1.0": super::base::bailiwick::host::net,
            "bailiwick:host/session@0.1.0": super::base::bailiwick::host::session,
        },
        pub_export_macro: true,
        export_macro_name: "export_transport",
    });
}

/// The export of an environment plug-in.
pub mod environment {
    wit_bindgen::generate!({
        path: "../../wit",
        inline: "
            package bailiwick:sdk;
            world environment { export bailiwick:env/device@0.1.0; }
        ",
        world: "bailiwick:sdk/environment",
        with: { "bailiwick:types/types@0.1.0": super::base::bailiwick::types::types },
        pub_export_macro: true,
        export_macro_name: "export_environment",
    });
}
