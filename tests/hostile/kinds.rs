//! The kinds of misbehaviour, and what must come of each.

use bailiwick::plugins::{Bearer, CallError, Operation, Output, PluginError};
use bailiwick_protocol::Value;
use wit_component::StringEncoding;

use crate::device::{DEADLINE, Installation, read};
use crate::raw;

/// The class of the hostile objects.
pub(crate) const MOID: &str = "urn:example:mo:hostile:1.0";

/// One kind.
pub(crate) struct Kind {
    pub(crate) name: String,
    /// Its name in the manifest.
    pub(crate) plugin: &'static str,
    pub(crate) installations: Vec<Installation>,
    pub(crate) operation: Operation,
    pub(crate) expect: Expect,
    /// What a first call writes is kept: there is something to be read again and again.
    pub(crate) keeps: bool,
}

/// What must come of a call.
pub(crate) enum Expect {
    /// The sandbox crashes, for a reason that contains this.
    Crashed(&'static str),
    /// The deadline ends it.
    TimedOut,
    /// The plug-in answers with this error: it was told so by the host, or says so itself.
    Refused(PluginError),
    /// The plug-in answers that something is unavailable, for a reason that contains this.
    Unavailable(&'static str),
    /// The host does not start it, for a reason that contains this.
    Unusable(&'static str),
    /// It is answered, with this text.
    Text(&'static str),
    /// It is answered; what makes it harmless is looked at elsewhere.
    Answer,
}

impl Expect {
    /// Whether the outcome is the expected one.
    pub(crate) fn judge(&self, outcome: &Result<Output, CallError>) -> Result<(), String> {
        let fits = match (self, outcome) {
            (Self::Crashed(wanted), Err(CallError::Crashed { reason, .. }))
            | (Self::Unusable(wanted), Err(CallError::Unusable { reason, .. })) => {
                reason.contains(wanted)
            }
            (Self::TimedOut, Err(CallError::TimedOut { .. })) => true,
            (Self::Refused(wanted), Err(CallError::Refused { error, .. })) => error == wanted,
            (
                Self::Unavailable(wanted),
                Err(CallError::Refused {
                    error: PluginError::Unavailable(Some(reason)),
                    ..
                }),
            ) => reason.contains(wanted),
            (Self::Text(wanted), Ok(output)) => text_of(output) == Some(wanted),
            (Self::Answer, Ok(_)) => true,
            _ => false,
        };
        fits.then_some(()).ok_or_else(|| {
            let mut shown = format!("{outcome:?}");
            shown.truncate(shown.floor_char_boundary(600));
            format!("came to {shown}")
        })
    }

    /// Whether it counts as a crash of the plug-in.
    pub(crate) fn is_crash(&self) -> bool {
        matches!(self, Self::Crashed(_) | Self::TimedOut)
    }
}

/// The text leaf of an answer.
pub(crate) fn text_of(output: &Output) -> Option<&str> {
    match output {
        Output::Nodes(nodes) => nodes.iter().find_map(|node| match &node.value {
            Some(Value::Chr(text)) => Some(text.as_str()),
            _ => None,
        }),
        _ => None,
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Kind> {
    [
        objects(),
        raw_objects(),
        not_for_us(),
        environments(),
        transports(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Objects that the SDK can express.
fn objects() -> Vec<Kind> {
    use Expect::{Answer, Crashed, Refused, Text, TimedOut};
    let crash = "unreachable";
    let too_large = || Refused(PluginError::TooLarge);
    let mut kinds: Vec<Kind> = [
        ("trap", Crashed(crash)),
        ("trap-in-init", Crashed(crash)),
        ("panic", Crashed(crash)),
        ("spin", TimedOut),
        ("spin-in-init", TimedOut),
        ("recurse", Crashed("call stack exhausted")),
        ("allocate", Crashed("memory")),
        ("answer-late", TimedOut),
        // WASI is not there.
        ("clock", Crashed("wasi:clocks")),
        ("print", Crashed("wasi:")),
        ("open-file", Crashed("wasi:filesystem")),
        ("environment", Crashed("wasi:cli/environment")),
        ("random", Crashed("wasi:random")),
        ("exit", Crashed("wasi:cli/exit")),
        ("log-flood", Answer),
        ("log-line", Answer),
        ("log-fields", Answer),
        ("long-list", Crashed("fuel")),
        ("long-text", Crashed("fuel")),
        ("alerts", too_large()),
        ("rewrite", too_large()),
        ("put-and-delete", too_large()),
        ("delete-nothing", too_large()),
        ("scan", Answer),
        ("fill", too_large()),
        ("keys", Text("0 before, 12 now")),
        ("bad-keys", Text("refused")),
    ]
    .map(|(behaviour, expect)| object_kind(behaviour, expect))
    .into();
    for kind in &mut kinds {
        if kind.name == "scan" {
            kind.keeps = true;
            let plugins = kind.installations.iter_mut();
            plugins.for_each(|plugin| {
                plugin.manifest = plugin.manifest.replace("call-ms = 400", "call-ms = 1500")
            });
        }
        // So that they get there in the time that they have.
        if matches!(kind.expect, Refused(PluginError::TooLarge)) {
            let plugins = kind.installations.iter_mut();
            plugins.for_each(|plugin| plugin.manifest.push_str("storage-bytes = 262144\n"));
        }
    }
    kinds.push(Kind {
        operation: Operation::Classes,
        ..object_kind("long-class", Crashed("fuel"))
    });
    kinds
}

fn object_kind(behaviour: &str, expect: Expect) -> Kind {
    let plugin = Installation::built("hostile-object")
        .set("behaviour", behaviour)
        .limits(&format!("call-ms = {}", DEADLINE.as_millis()));
    Kind {
        name: behaviour.to_owned(),
        plugin: "hostile-object",
        installations: vec![plugin],
        operation: read(MOID, behaviour),
        expect,
        keeps: false,
    }
}

/// Objects that no SDK makes.
fn raw_objects() -> Vec<Kind> {
    use Expect::{Answer, Crashed, TimedOut};
    let kinds = [
        (
            "grows-tables",
            "(table $t 1 funcref)
             (func $read (result i32)
               (loop $again (drop (table.grow $t (ref.null func) (i32.const 1000))) (br $again))
               unreachable)",
            Crashed("table"),
        ),
        (
            "grows-many-tables",
            "(table $a 1 funcref) (table $b 1 funcref) (table $c 1 funcref) (table $d 1 funcref)
             (func $read (result i32)
               (drop (table.grow $a (ref.null func) (i32.const 15000)))
               (drop (table.grow $b (ref.null func) (i32.const 15000)))
               (drop (table.grow $c (ref.null func) (i32.const 15000)))
               (drop (table.grow $d (ref.null func) (i32.const 15000)))
               (i32.const 2176))",
            Crashed("table"),
        ),
        (
            "grows-memory",
            "(func $read (result i32)
               (loop $again (drop (memory.grow (i32.const 16))) (br $again))
               unreachable)",
            Crashed("memory"),
        ),
        (
            "grows-many-memories",
            "(memory $memory 2) (memory $a 1) (memory $b 1) (memory $c 1)
             (func $read (result i32)
               (drop (memory.grow $a (i32.const 200)))
               (drop (memory.grow $b (i32.const 200)))
               (drop (memory.grow $c (i32.const 200)))
               (memory.fill $a (i32.const 0) (i32.const 1) (i32.const 13000000))
               (memory.fill $b (i32.const 0) (i32.const 1) (i32.const 13000000))
               (memory.fill $c (i32.const 0) (i32.const 1) (i32.const 13000000))
               (i32.const 2176))",
            Crashed("memory"),
        ),
        ("wants-4-GiB", "(memory $memory 65536)", Crashed("memory")),
        (
            "wants-a-big-table",
            "(table 10000000 funcref)",
            Crashed("table"),
        ),
        (
            "start-traps",
            "(func $s unreachable) (start $s)",
            Crashed("unreachable"),
        ),
        (
            "start-spins",
            "(func $s (loop $again (br $again))) (start $s)",
            TimedOut,
        ),
        (
            "leaks-handles",
            r#"(import "[export]hostile:raw/leak" "[resource-new]thing" (func $new (param i32) (result i32)))
             (func $read (result i32)
               (loop $again (drop (call $new (i32.const 1))) (br $again))
               unreachable)"#,
            Crashed("handle"),
        ),
        (
            "drops-what-it-does-not-have",
            r#"(import "[export]hostile:raw/leak" "[resource-drop]thing" (func $drop (param i32)))
             (func $read (result i32) (call $drop (i32.const 7)) unreachable)"#,
            Crashed("handle"),
        ),
        (
            "answers-from-outside-its-memory",
            "(func $read (result i32) (i32.const 0xfffffff0))",
            Crashed("pointer"),
        ),
        (
            "answers-from-an-odd-address",
            "(func $read (result i32) (i32.const 2177))",
            Crashed("align"),
        ),
        (
            "answers-a-list-without-end",
            "(func $read (result i32)
               (i32.store (i32.const 2184) (i32.const 0xffffffff)) (i32.const 2176))",
            Crashed("out of bounds"),
        ),
        (
            "answers-a-text-that-is-none",
            r#"(data (i32.const 3000) "\ff\fe\80")
             (func $read (result i32)
               (i32.store8 (i32.const 2312) (i32.const 1))
               (i32.store8 (i32.const 2320) (i32.const 4))
               (i32.store (i32.const 2328) (i32.const 3000))
               (i32.store (i32.const 2332) (i32.const 3))
               (i32.const 2176))"#,
            Crashed("utf-8"),
        ),
        (
            "answers-a-case-that-is-none",
            "(func $read (result i32)
               (i32.store8 (i32.const 2312) (i32.const 1))
               (i32.store8 (i32.const 2320) (i32.const 200))
               (i32.const 2176))",
            Crashed("discriminant"),
        ),
        (
            "allocates-outside-its-memory",
            "(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 0xfffffff0))",
            Crashed("realloc"),
        ),
        (
            "allocates-at-an-odd-address",
            "(func $realloc (param i32 i32 i32 i32) (result i32) (i32.const 4097))",
            Crashed("align"),
        ),
        (
            "calls-out-while-allocating",
            r#"(import "bailiwick:host/storage@0.1.0" "get" (func $get (param i32 i32 i32)))
             (func $realloc (param i32 i32 i32 i32) (result i32)
               (call $get (i32.const 1040) (i32.const 3) (i32.const 4096)) (i32.const 65536))"#,
            Crashed("cannot leave component instance"),
        ),
        (
            "traps-after-its-answer",
            r#"(func (export "cabi_post_bailiwick:mo/handler@0.1.0#read") (param i32) unreachable)"#,
            Crashed("unreachable"),
        ),
        (
            "spins-after-its-answer",
            r#"(func (export "cabi_post_bailiwick:mo/handler@0.1.0#read") (param i32)
               (loop $again (br $again)))"#,
            TimedOut,
        ),
        (
            "hides-its-init-behind-an-infinite-loop",
            "(func $init (result i32) (loop $again (br $again)) unreachable)",
            TimedOut,
        ),
        // The control: the same without malice.
        ("does-no-harm", "", Answer),
    ];
    let mut kinds: Vec<Kind> = kinds
        .into_iter()
        .map(|(name, fields, expect)| raw_kind(name, raw::object(fields), expect))
        .collect();
    let utf16 = "(func $init (result i32) (i32.const 2112))
        (data (i32.const 3000) \"\\00\\d8\\00\\d8\")
        (func $read (result i32)
          (i32.store8 (i32.const 2312) (i32.const 1))
          (i32.store8 (i32.const 2320) (i32.const 4))
          (i32.store (i32.const 2328) (i32.const 3000))
          (i32.store (i32.const 2332) (i32.const LENGTH))
          (i32.const 2176))";
    for (name, encoding, length, expect) in [
        (
            "answers-half-a-surrogate-pair",
            StringEncoding::UTF16,
            "2",
            Crashed("surrogate"),
        ),
        (
            "answers-a-UTF-16-text-without-end",
            StringEncoding::UTF16,
            "0xffffffff",
            Crashed(""),
        ),
        (
            "answers-a-Latin-1-text-without-end",
            StringEncoding::CompactUTF16,
            "0x7fffffff",
            Crashed(""),
        ),
        (
            "answers-a-tagged-text-without-end",
            StringEncoding::CompactUTF16,
            "0xffffffff",
            Crashed(""),
        ),
    ] {
        let mut fields = utf16.replace("LENGTH", length);
        if encoding == StringEncoding::CompactUTF16 {
            fields = fields.replace("(func $init (result i32) (i32.const 2112))", "");
        }
        kinds.push(raw_kind(name, raw::object_with(&fields, encoding), expect));
    }
    kinds
}

fn raw_kind(name: &str, component: Vec<u8>, expect: Expect) -> Kind {
    Kind {
        name: name.to_owned(),
        plugin: "raw",
        installations: vec![raw_installation(component)],
        operation: read(MOID, name),
        expect,
        keeps: false,
    }
}

fn raw_installation(component: Vec<u8>) -> Installation {
    Installation::built("hostile-object")
        .edit("name = \"hostile-object\"", "name = \"raw\"")
        .component(component)
        .limits(&format!("call-ms = {}", DEADLINE.as_millis()))
}

/// What is not even started.
fn not_for_us() -> Vec<Kind> {
    use Expect::Unusable;
    let built = || Installation::built("hostile-object");
    let component = built().component;
    let patched = |from: &str, to: &str| patch(&component, from, to);
    let imports = "imports = [\"logging\", \"call-context\", \"config\", \"storage\", \"notify\", \"device\"]";
    let mut kinds: Vec<Kind> = [
        (
            "imports-what-its-manifest-does-not-ask-for",
            built().edit(
                imports,
                "imports = [\"logging\", \"call-context\", \"config\", \"notify\", \"device\"]",
            ),
            Unusable("bailiwick:host/storage@0.1.0, which was not granted"),
        ),
        (
            "imports-what-the-operator-does-not-grant",
            built().grant(&["logging", "call-context", "config", "storage", "device"]),
            Unusable("bailiwick:host/notify@0.1.0, which was not granted"),
        ),
        (
            "imports-an-unknown-interface",
            built().component(patched("bailiwick:host/notify@", "bailiwick:host/secret@")),
            Unusable("bailiwick:host/secret@0.1.0, which this host does not know"),
        ),
        (
            "imports-another-version",
            built().component(patched(
                "bailiwick:host/storage@0.1.0",
                "bailiwick:host/storage@0.2.0",
            )),
            Unusable("bailiwick:host/storage@0.2.0, which this host does not know"),
        ),
        (
            "exports-another-version",
            built().component(patched(
                "bailiwick:mo/handler@0.1.0",
                "bailiwick:mo/handler@0.2.0",
            )),
            Unusable("bailiwick:mo/handler"),
        ),
        (
            "lies-about-its-name",
            built().edit("name = \"hostile-object\"", "name = \"honest-object\""),
            Unusable("calls itself hostile-object"),
        ),
        (
            "lies-about-its-version",
            built().edit("version = \"0.1.0\"", "version = \"0.1.1\""),
            Unusable("the manifest hostile-object 0.1.1"),
        ),
        (
            "is-a-core-module",
            built().component(b"\0asm\x01\0\0\0".to_vec()),
            Unusable("core module"),
        ),
        ("is-empty", built().component(Vec::new()), Unusable("")),
        (
            "is-text",
            built().component(b"(component)".to_vec()),
            Unusable("not a component"),
        ),
        (
            "is-garbage",
            built().component(component.iter().map(|byte| byte ^ 0x55).collect()),
            Unusable("not a component"),
        ),
        (
            "is-cut-off",
            built().component(
                component
                    .iter()
                    .take(component.len() / 2)
                    .copied()
                    .collect(),
            ),
            Unusable("not a component"),
        ),
        (
            "is-compiled-already",
            built().component(b"\x7fELF\x02\x01\x01\0compiled code of somebody".to_vec()),
            Unusable("not a component"),
        ),
        (
            "exports-nothing",
            built().component(raw::text("(component)")),
            Unusable("bailiwick:"),
        ),
        (
            "wants-64-bit-memory",
            built().component(raw::text("(component (core module (memory i64 1)))")),
            Unusable("compile"),
        ),
        (
            "wants-shared-memory",
            built().component(raw::text("(component (core module (memory 1 1 shared)))")),
            Unusable("compile"),
        ),
        (
            "wants-a-garbage-collector",
            built().component(raw::text(
                "(component (core module (type (struct (field i32)))))",
            )),
            Unusable("compile"),
        ),
        (
            "nests-without-end",
            built().component(nested(2_000)),
            Unusable(""),
        ),
        (
            "has-a-type-of-exponential-size",
            built().component(exponential()),
            Unusable("compile"),
        ),
        (
            "compiles-for-ever",
            built().component(raw::compile_for_ever()),
            Unusable("longer than"),
        ),
    ]
    .map(|(name, plugin, expect)| Kind {
        name: name.to_owned(),
        plugin: "hostile-object",
        installations: vec![plugin.limits(&format!("call-ms = {}", DEADLINE.as_millis()))],
        operation: read(MOID, name),
        expect,
        keeps: false,
    })
    .into();
    for kind in &mut kinds {
        if kind.name == "lies-about-its-name" {
            kind.plugin = "honest-object";
        }
    }
    kinds
}

/// Replaces a text of equal length everywhere in a component.
fn patch(component: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut patched = component.to_vec();
    let mut found = 0;
    for at in 0..patched.len().saturating_sub(from.len()) {
        let place = &mut patched[at..at + from.len()];
        if *place == *from.as_bytes() {
            place.copy_from_slice(to.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "{from} is not in the component");
    patched
}

/// Components in components.
fn nested(depth: usize) -> Vec<u8> {
    const HEADER: [u8; 8] = *b"\0asm\x0d\0\x01\0";
    let mut component = HEADER.to_vec();
    for _ in 0..depth {
        let mut outer = HEADER.to_vec();
        outer.push(4);
        let mut length = component.len();
        while length >= 0x80 {
            outer.push((length as u8 & 0x7f) | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.append(&mut component);
        component = outer;
    }
    component
}

/// A type that has twice the size of the one before it, forty times.
fn exponential() -> Vec<u8> {
    let mut types = String::from("(type $t0 (tuple u64 u64))");
    for number in 1..40 {
        let before = number - 1;
        types.push_str(&format!("(type $t{number} (tuple $t{before} $t{before}))"));
    }
    raw::text(&format!(
        "(component {types} (import \"bailiwick:host/logging@0.1.0\" (instance (export \"log\" (func (param \"x\" $t39))))))"
    ))
}

/// Object, environment and what lies between them.
fn environments() -> Vec<Kind> {
    use Expect::{Refused, Text, TimedOut};
    let environment = || {
        Installation::built("hostile-environment").grant(&[
            "logging",
            "call-context",
            "config",
            "device",
            "os",
        ])
    };
    [
        ("environment-sleeps", "fact", "sleep", TimedOut),
        (
            "environment-asks-itself",
            "fact",
            "circle",
            Refused(PluginError::Busy),
        ),
        (
            "environment-crashes",
            "fact",
            "trap",
            Expect::Unavailable("plug-in hostile-environment"),
        ),
        (
            "environment-answers-at-length",
            "fact",
            "long",
            Expect::Unavailable("plug-in hostile-environment"),
        ),
        ("environment-reaches-out", "fact", "escape", Text("")),
        (
            "environment-is-asked-without-end",
            "ask",
            "",
            Expect::Answer,
        ),
    ]
    .map(|(name, behaviour, fact, expect)| {
        let mut kind = object_kind(behaviour, expect);
        kind.name = name.to_owned();
        kind.operation = read(MOID, name);
        kind.installations = kind
            .installations
            .into_iter()
            .map(|plugin| plugin.set("fact", fact))
            .chain([environment()])
            .collect();
        kind
    })
    .into()
}

/// Transports; the endpoint is a socket of this test.
fn transports() -> Vec<Kind> {
    use Expect::{Answer, Crashed, Refused, TimedOut};
    let built = |behaviour: &str| {
        Installation::built("hostile-transport")
            .grant(&["logging", "call-context", "config", "session", "net"])
            .set("behaviour", behaviour)
    };
    let raw_transport = |fields: &str| {
        built("")
            .edit("name = \"hostile-transport\"", "name = \"raw\"")
            .component(raw::transport(fields))
    };
    let invalid = PluginError::InvalidArgument(Some("give 1 to 32 candidates".into()));
    [
        ("dials-elsewhere", "hostile-transport", built("elsewhere"), Refused(PluginError::NotPermitted)),
        ("hoards-connections", "hostile-transport", built("hoard"), Refused(PluginError::TooLarge)),
        ("dials-5000-candidates", "hostile-transport", built("many-candidates"), Refused(invalid)),
        ("spins-while-dialling", "hostile-transport", built("spin"), TimedOut),
        ("dials", "hostile-transport", built("well"), Answer),
        ("hands-over-nothing", "raw", raw_transport("(func $dial)"), Crashed("handle")),
        (
            "hands-over-what-it-does-not-have",
            "raw",
            raw_transport("(func $dial (i32.store (i32.const 2180) (i32.const 12345)))"),
            Crashed("handle"),
        ),
        (
            "closes-what-it-does-not-have",
            "raw",
            raw_transport(
                r#"(import "bailiwick:host/net@0.1.0" "[resource-drop]byte-stream" (func $drop (param i32)))
                 (func $dial (call $drop (i32.const 12345)))"#,
            ),
            Crashed("handle"),
        ),
    ]
    .map(|(name, plugin, installation, expect)| Kind {
        name: name.to_owned(),
        plugin,
        installations: vec![installation.limits(&format!("call-ms = {}", DEADLINE.as_millis()))],
        operation: Operation::Dial {
            host: "127.0.0.1".into(),
            port: 0,
            preferred: Bearer::Unknown,
        },
        expect,
        keeps: false,
    })
    .into()
}
