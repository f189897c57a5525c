//! Components that no SDK makes: written as text, for what only the engine and the canonical ABI can tell.

use bailiwick_tests::root;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What every object has, where a kind does not bring its own.
const DEFAULTS: [(&str, &str); 4] = [
    ("(memory $memory", "(memory $memory 2)"),
    ("(func $init", "(func $init (result i32) (i32.const 2048))"),
    ("(func $read", "(func $read (result i32) (i32.const 2176))"),
    (
        "(func $realloc",
        "(global $free (mut i32) (i32.const 65536))
         (func $realloc (param i32 i32 i32 i32) (result i32)
           (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
           (global.get $free)
           (global.set $free (i32.add (global.get $free) (local.get 3))))",
    ),
];

/// An object with these fields; what it does not define is as in [`DEFAULTS`].
pub(crate) fn object(fields: &str) -> Vec<u8> {
    object_with(fields, StringEncoding::UTF8)
}

/// The same, with texts in another encoding.
pub(crate) fn object_with(fields: &str, encoding: StringEncoding) -> Vec<u8> {
    component(&object_module(fields), "object", encoding)
}

/// A transport with these fields.
pub(crate) fn transport(fields: &str) -> Vec<u8> {
    let module = module(fields, include_str!("raw/transport.wat"));
    component(&module, "transport", StringEncoding::UTF8)
}

/// A component as text.
pub(crate) fn text(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the text is well formed")
}

fn object_module(fields: &str) -> Vec<u8> {
    let mut fields = fields.to_owned();
    for (define, default) in DEFAULTS {
        if !fields.contains(define) {
            fields.push_str(default);
        }
    }
    module(&fields, include_str!("raw/object.wat"))
}

fn module(fields: &str, exports: &str) -> Vec<u8> {
    text(&format!("(module\n{fields}\n{exports})"))
}

fn component(module: &[u8], world: &str, encoding: StringEncoding) -> Vec<u8> {
    let mut resolve = Resolve::default();
    resolve
        .push_path(root().join("wit"))
        .expect("wit/ is well formed");
    let worlds = "
        package hostile:raw;
        interface leak { resource thing; }
        world object { include bailiwick:plugin/mo-plugin@0.1.0; export leak; }
        world transport { include bailiwick:plugin/transport-plugin@0.1.0; }
    ";
    let package = resolve
        .push_str("raw.wit", worlds)
        .expect("the worlds are well formed");
    let world = resolve
        .select_world(&[package], Some(world))
        .expect("the world exists");
    let mut module = module.to_vec();
    embed_component_metadata(&mut module, &resolve, world, encoding).expect("metadata");
    ComponentEncoder::default()
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .expect("the module fits its world")
}

/// A function that takes the compiler very long: one block after the other, all values alive to the end.
pub(crate) fn compile_for_ever() -> Vec<u8> {
    let mut body = String::new();
    for number in 0..60_000 {
        body.push_str(&format!(
            "(if (i32.and (local.get 0) (i32.const {number})) (then (local.set {} (i32.mul (local.get {}) (i32.const {number})))))",
            number % 400,
            (number * 7) % 400
        ));
    }
    let locals = "i32 ".repeat(400);
    object(&format!(
        "(func $big (param i32) (result i32) (local {locals}) {body} (local.get 1))"
    ))
}
