//! For tests: a reader of Varlink's interface language, so that what is answered can be held against it.

use std::collections::BTreeMap;

use serde_json::Value;

/// An interface.
pub(super) struct Idl {
    types: BTreeMap<String, Type>,
    /// Name, parameters, result.
    pub(super) methods: BTreeMap<String, (Type, Type)>,
    pub(super) errors: BTreeMap<String, Type>,
}

/// A type.
#[derive(Clone, Debug)]
pub(super) enum Type {
    Int,
    Text,
    Bool,
    Object,
    Maybe(Box<Type>),
    List(Box<Type>),
    Map(Box<Type>),
    Choice(Vec<String>),
    Struct(BTreeMap<String, Type>),
    Named(String),
}

impl Idl {
    pub(super) fn parse(text: &str) -> Self {
        let mut idl = Self {
            types: BTreeMap::new(),
            methods: BTreeMap::new(),
            errors: BTreeMap::new(),
        };
        let mut words = words(text);
        while let Some(word) = words.pop() {
            let name = words.pop().unwrap();
            match word.as_str() {
                "interface" => {}
                "type" => drop(idl.types.insert(name, parse(&mut words))),
                "error" => drop(idl.errors.insert(name, parse(&mut words))),
                "method" => {
                    let parameters = parse(&mut words);
                    assert_eq!(words.pop().as_deref(), Some("->"));
                    idl.methods.insert(name, (parameters, parse(&mut words)));
                }
                other => panic!("{other:?} begins nothing"),
            }
        }
        idl
    }

    /// What in `value` is not as `expected`; nothing: all is.
    pub(super) fn check(&self, value: &Value, expected: &Type) -> Result<(), String> {
        let wrong = || Err(format!("{value} is not {expected:?}"));
        match (expected, value) {
            (Type::Named(name), _) => self.check(value, &self.types[name]),
            (Type::Maybe(_), Value::Null) => Ok(()),
            (Type::Maybe(expected), _) => self.check(value, expected),
            (Type::Int, Value::Number(number)) if !number.is_f64() => Ok(()),
            (Type::Text, Value::String(_)) | (Type::Bool, Value::Bool(_)) => Ok(()),
            (Type::Object, Value::Object(_)) => Ok(()),
            (Type::Choice(choices), Value::String(text)) if choices.contains(text) => Ok(()),
            (Type::List(expected), Value::Array(list)) => list
                .iter()
                .try_for_each(|value| self.check(value, expected)),
            (Type::Map(expected), Value::Object(map)) => map
                .values()
                .try_for_each(|value| self.check(value, expected)),
            (Type::Struct(fields), Value::Object(members)) => {
                if let Some(name) = members.keys().find(|name| !fields.contains_key(*name)) {
                    return Err(format!("{name:?} is not in the interface"));
                }
                fields.iter().try_for_each(|(name, expected)| {
                    let value = members.get(name).unwrap_or(&Value::Null);
                    self.check(value, expected)
                        .map_err(|e| format!("{name}: {e}"))
                })
            }
            _ => wrong(),
        }
    }
}

/// Words and signs, the first one last.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for line in text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        let mut line = line.replace("->", " > ");
        for sign in ["(", ")", "[", "]", ",", ":", "?"] {
            line = line.replace(sign, &format!(" {sign} "));
        }
        words.extend(line.split_whitespace().map(|word| word.replace('>', "->")));
    }
    words.reverse();
    words
}

fn parse(words: &mut Vec<String>) -> Type {
    match words.pop().unwrap().as_str() {
        "int" => Type::Int,
        "string" => Type::Text,
        "bool" => Type::Bool,
        "object" => Type::Object,
        "?" => Type::Maybe(Box::new(parse(words))),
        "[" => match words.pop().unwrap().as_str() {
            "]" => Type::List(Box::new(parse(words))),
            "string" => {
                assert_eq!(words.pop().as_deref(), Some("]"));
                Type::Map(Box::new(parse(words)))
            }
            other => panic!("{other:?} in brackets"),
        },
        "(" => members(words),
        name => Type::Named(name.to_owned()),
    }
}

/// What follows a `(`: names with types, or names alone.
fn members(words: &mut Vec<String>) -> Type {
    let (mut fields, mut choices) = (BTreeMap::new(), Vec::new());
    loop {
        match words.pop().unwrap().as_str() {
            ")" if choices.is_empty() => return Type::Struct(fields),
            ")" => return Type::Choice(choices),
            "," => {}
            name if words.last().is_some_and(|next| next == ":") => {
                words.pop();
                fields.insert(name.to_owned(), parse(words));
            }
            name => choices.push(name.to_owned()),
        }
    }
}
