//! What `wit/` becomes in Rust: the imports once, the exports of each world on top.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated; documented in wit/"
)]

pub(super) mod imports {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package bailiwick:sandbox;
            world imports {
                import bailiwick:types/types@0.1.0;
                import bailiwick:host/logging@0.1.0;
                import bailiwick:host/call-context@0.1.0;
                import bailiwick:host/config@0.1.0;
                import bailiwick:host/storage@0.1.0;
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
        imports: { default: async | trappable },
        with: { "bailiwick:host/net@0.1.0.byte-stream": crate::worker::imports::Connection },
    });
}

pub(super) mod object {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package bailiwick:sandbox;
            world object {
                export bailiwick:lifecycle/plugin@0.1.0;
                export bailiwick:mo/handler@0.1.0;
            }
        ",
        exports: { default: async },
        with: { "bailiwick:types/types@0.1.0": super::imports::bailiwick::types::types },
    });
}

pub(super) mod transport {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package bailiwick:sandbox;
            world transport {
                export bailiwick:lifecycle/plugin@0.1.0;
                export bailiwick:transport/dialer@0.1.0;
            }
        ",
        exports: { default: async },
        with: {
            "bailiwick:types/types@0.1.0": super::imports::bailiwick::types::types,
            "bailiwick:host/session@0.1.0": super::imports::bailiwick::host::session,
            "bailiwick:host/net@0.1.0": super::imports::bailiwick::host::net,
        },
    });
}

pub(super) mod environment {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "
            package bailiwick:sandbox;
            world environment {
                export bailiwick:lifecycle/plugin@0.1.0;
                export bailiwick:env/device@0.1.0;
            }
        ",
        exports: { default: async },
        with: { "bailiwick:types/types@0.1.0": super::imports::bailiwick::types::types },
    });
}
