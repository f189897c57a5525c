//! What an attacker would send: too deep, too much, too long, and anything at all. Nothing may panic or run away.

use crate::{nodes, vector};
use bailiwick_protocol::{
    BootstrapDocument, ClientUri, Command, Ddf, DdfError, InstanceSelector, JsonError, Limits,
    MoItem, NodeValue, Notification, ObjectError, Package1, Package2, Package3, PackageError,
    Query, Segment,
};
use std::time::{Duration, Instant};

/// Feeds every reader; what they return does not matter here.
fn read_everything(bytes: &[u8]) {
    let limits = Limits::default();
    let _ = Package1::parse(bytes, &limits).map(|package| package.to_bytes());
    let _ = Package2::parse(bytes, &limits).map(|package| package.to_bytes());
    let _ = Package3::parse(bytes, &limits).map(|package| package.to_bytes());
    let _ = BootstrapDocument::parse(bytes, &limits).map(|document| document.to_bytes());
    let _ =
        Notification::parse(bytes, &limits).map(|notification| notification.digest_input(b"", b""));
    let ddf = Ddf::parse(bytes, &limits);
    for item in MoItem::parse_all(bytes, &limits).unwrap_or_default() {
        let _ = item.nodes(&[], ddf.as_ref().ok(), &limits);
        let _ = item.nodes(&["Data".to_owned()], None, &limits);
    }
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = text.parse::<ClientUri>();
        let _ = Command::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
    }
}

#[test]
fn deep_nesting() {
    for open in ["[", "{\"CMD\":", "{\"MOData\":", "[{\"MOData\":{\"a\":"] {
        let bytes = open.repeat(100_000).into_bytes();
        let too_deep = JsonError::TooDeep { limit: 32 };
        assert_eq!(
            Package2::parse(&bytes[..1_000.max(open.len() * 100)], &Limits::default()),
            Err(too_deep.clone().into())
        );
        assert_eq!(
            MoItem::parse_all(&bytes, &Limits::default()),
            Err(ObjectError::Json(too_deep))
        );
    }
    let elements = format!("<MgmtTree>{}", "<Node>".repeat(50_000));
    assert_eq!(
        Ddf::parse(elements.as_bytes(), &Limits::default()),
        Err(DdfError::TooDeep { limit: 32 })
    );
}

#[test]
fn brackets_in_strings_do_not_count() {
    let brackets = "[{,".repeat(10_000);
    let text = format!(r#"{{"CMD":[["{brackets}\"{brackets}\\","END"],["END"]]}}"#);
    let package = Package2::parse(text.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(package.commands.len(), 2);
    assert_eq!(package.commands[1], Ok(Command::End));
}

#[test]
fn values_are_counted_before_they_are_built() {
    let limits = Limits {
        nodes: 10,
        ..Limits::default()
    };
    let parse = |text: &str| {
        Package2::parse(text.as_bytes(), &limits).map(|package| package.commands.len())
    };
    assert_eq!(parse(r#"{"CMD":[[],[],[]]}"#), Ok(3));
    for text in [
        r#"{"CMD":[1,2,3,4,5,6,7,8,9]}"#,
        r#"{"CMD":[[[]],[[]],[[]]]}"#,
    ] {
        assert_eq!(
            parse(text),
            Err(JsonError::TooMany { limit: 10 }.into()),
            "{text}"
        );
    }
}

#[test]
fn ten_megabytes() {
    let bytes = vec![b' '; 10 << 20];
    let too_large = |limit| JsonError::TooLarge {
        bytes: 10 << 20,
        limit,
    };
    let limits = Limits::default();
    assert_eq!(
        Package1::parse(&bytes, &limits),
        Err(too_large(limits.package_bytes).into())
    );
    assert_eq!(
        Package3::parse(&bytes, &limits),
        Err(too_large(limits.package_bytes).into())
    );
    assert_eq!(
        MoItem::parse_all(&bytes, &limits),
        Err(too_large(limits.object_bytes).into())
    );
    assert!(matches!(
        Ddf::parse(&bytes, &limits),
        Err(DdfError::TooLarge { .. })
    ));
    assert!(BootstrapDocument::parse(&bytes, &limits).is_err());
    assert!(Notification::parse(&bytes, &limits).is_err());
}

#[test]
fn a_million_commands() {
    let bytes = format!("{{\"CMD\":[{}[]]}}", "[],".repeat(1_000_000)).into_bytes();
    let wide = Limits {
        package_bytes: 4 << 20,
        ..Limits::default()
    };
    assert_eq!(
        Package2::parse(&bytes, &wide),
        Err(JsonError::TooMany { limit: wide.nodes }.into())
    );
    let wider = Limits {
        nodes: 4_000_000,
        ..wide
    };
    let too_many = PackageError::TooMany {
        member: "CMD",
        found: 1_000_001,
        limit: 256,
    };
    assert_eq!(Package2::parse(&bytes, &wider), Err(too_many));
}

#[test]
fn huge_names() {
    let name = "n".repeat(100_000);
    let item = format!(r#"{{"MOData":{{"r":{{"{name}":1}}}}}}"#);
    let items = MoItem::parse_all(item.as_bytes(), &Limits::default()).unwrap();
    let error = items[0].nodes(&[], None, &Limits::default()).unwrap_err();
    assert!(
        matches!(&error, ObjectError::Name { .. }) && error.to_string().len() < 250,
        "{error}"
    );
    assert!(ClientUri::parse(&format!("urn:x:1//{name}")).is_err());
    assert!(ClientUri::parse(&format!("urn:x:1//{}", "a/".repeat(1_000))).is_err());
}

#[test]
fn thousands_of_leaves_below_long_names() {
    let name = "n".repeat(250);
    let leaves: Vec<String> = (0..19_900).map(|i| format!("\"{i}\":0")).collect();
    let open = format!("{{\"{name}\":").repeat(25);
    let item = format!(
        r#"{{"MOData":{open}{{{}}}{}}}"#,
        leaves.join(","),
        "}".repeat(25)
    );
    let items = MoItem::parse_all(item.as_bytes(), &Limits::default()).unwrap();
    let limit = Limits::default().object_bytes;
    assert_eq!(
        items[0].nodes(&[], None, &Limits::default()),
        Err(ObjectError::LongPaths { limit })
    );
}

/// A DDF whose root has this many named children and an unnamed one.
fn wide_ddf(named: usize) -> String {
    let children: String = (0..named)
        .map(|i| format!("<Node><NodeName>n{i}</NodeName></Node>"))
        .collect();
    format!("<MgmtTree><Node>{children}<Node/></Node></MgmtTree>")
}

#[test]
fn a_wide_ddf_is_bounded() {
    let limits = Limits {
        ddf_nodes: 10,
        ..Limits::default()
    };
    let parse = |text: String| Ddf::parse(text.as_bytes(), &limits);
    assert!(parse(wide_ddf(8)).is_ok());
    assert_eq!(parse(wide_ddf(9)), Err(DdfError::TooMany { limit: 10 }));
    let hollow = format!("<MgmtTree><Node>{}</Node></MgmtTree>", "<a/>".repeat(400));
    assert_eq!(parse(hollow), Err(DdfError::TooMany { limit: 10 }));
}

#[test]
fn entities_do_not_expand() {
    let bomb = "<!DOCTYPE MgmtTree [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;\">]>\
        <MgmtTree><Node><NodeName>&b;</NodeName></Node></MgmtTree>";
    assert!(matches!(
        Ddf::parse(bomb.as_bytes(), &Limits::default()),
        Err(DdfError::Xml { .. })
    ));
}

#[test]
fn deep_nodes_are_not_written() {
    let deep = "a/".repeat(100_000);
    let item = MoItem::from_nodes(
        "urn:x:1//".into(),
        "R",
        &nodes(&[(&deep, None), ("b", None)]),
        None,
    );
    assert_eq!(item.data, serde_json::json!({"R": {"b": {}}}));
}

#[test]
fn the_worst_within_the_limits_is_quick() {
    let limits = Limits::default();
    let leaves: Vec<String> = (0..limits.nodes - 10)
        .map(|i| format!("\"m{i}\":\"\""))
        .collect();
    let object = format!(r#"{{"MOData":{{"r":{{{}}}}}}}"#, leaves.join(","));
    let uri = format!("urn:x:1/(x)/?{}", "nv=(x)/a:b&".repeat(360));
    let start = Instant::now();
    assert!(ClientUri::parse(&uri).is_ok());
    let ddf = Ddf::parse(wide_ddf(limits.ddf_nodes - 2).as_bytes(), &limits).unwrap();
    let items = MoItem::parse_all(object.as_bytes(), &limits).unwrap();
    let list = items[0].nodes(&[], Some(&ddf), &limits).unwrap();
    assert!(matches!(
        ddf.check(&list),
        Err(DdfError::WrongCount { found: 0, .. })
    ));
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn mutated_input_never_panics() {
    let seeds = [
        vector!("ts_example_p1.json"),
        vector!("ts_example_p2.json"),
        vector!("ts_example_p3.json"),
        vector!("ts_example_mo.json"),
        vector!("devinfo-v1_2.ddf"),
        b"\x13\x00\x11\x61\x11\x00\x12\x12\x34\x24\x65\x53\xF1\x00\x10",
        b"urn:oma:mo:moid:1.0/(x)/Data/(y)/Value?nv=(x)/ID:GPS&nv=(y)/Date:12.2&cv=%41",
        b"HPOST https://h/ urn:oma:mo:moid:1.0/*/Data/*/Value",
    ];
    let mut random = Random(0x5EED);
    for seed in seeds {
        read_everything(seed);
        for _ in 0..1_500 {
            read_everything(&random.mutated(seed));
        }
    }
}

#[test]
fn every_uri_reads_back_as_itself() {
    let mut random = Random(0x0DD);
    for _ in 0..5_000 {
        let uri = random.uri();
        let text = uri.to_string();
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
        assert_eq!(ClientUri::parse(&text).as_ref(), Ok(&uri), "{text}");
    }
}

/// xorshift64: the same inputs in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// A few cuts, repeats, swaps of bytes and insertions of syntax.
    fn mutated(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(16)).min(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => bytes.extend_from_within(at..end),
                3 => bytes.insert(at, self.pick(b"[]{}\",:\\/?&%()*<>\x00\xFF\xC3 n1")),
                _ => bytes[at..end].fill(self.below(256) as u8),
            }
        }
        bytes
    }

    fn name(&mut self) -> String {
        let letters = [
            'a', 'Z', '9', '.', '-', '/', '?', '&', ':', '(', ')', '*', '%', '#', ' ', '"', '+',
            'ü', '€', '𝄞',
        ];
        let length = 1 + self.below(8);
        let name: String = (0..length).map(|_| self.pick(&letters)).collect();
        if name == "." || name == ".." {
            "dots".into()
        } else {
            name
        }
    }

    fn names(&mut self) -> Vec<String> {
        (0..=self.below(3)).map(|_| self.name()).collect()
    }

    fn uri(&mut self) -> ClientUri {
        let mut letters = ('a'..='z').chain('A'..='Z');
        let mut unknowns = Vec::new();
        let mut unknown = || {
            let letter = letters.next().expect("fewer unknowns than letters");
            unknowns.push(letter);
            letter
        };
        let instance = match self.below(4) {
            0 => InstanceSelector::Only,
            1 => InstanceSelector::Unknown(unknown()),
            2 => InstanceSelector::All,
            _ => InstanceSelector::Id(self.name()),
        };
        let path = (0..self.below(6))
            .map(|_| match self.below(4) {
                0 => Segment::Unknown(unknown()),
                1 => Segment::All,
                _ => Segment::Name(self.name()),
            })
            .collect();
        let values = unknowns
            .into_iter()
            .map(|unknown| NodeValue {
                unknown,
                path: self.names(),
                value: self.names().concat(),
            })
            .collect();
        let validator = (self.below(2) == 0).then(|| self.name());
        ClientUri {
            moid: self.name(),
            instance,
            path,
            query: Query { values, validator },
        }
    }
}
