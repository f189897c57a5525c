//! Package#0: layout, digest input, and everything that is dropped.

use crate::vector;
use bailiwick_protocol::{Bearer, Limits, Notification, NotificationError};

fn example() -> Vec<u8> {
    let text = str::from_utf8(vector!("pkg0_derived_example.hex")).expect("text");
    hex(text.lines().next().expect("a line"))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("hex"))
        .collect()
}

fn parse(bytes: &[u8]) -> Result<Notification, NotificationError> {
    Notification::parse(bytes, &Limits::default())
}

#[test]
fn the_example_reads_and_writes() {
    let bytes = example();
    let read = parse(&bytes).unwrap();
    assert_eq!(read.server_id(), "dms.example.com");
    assert_eq!(read.bearers(), [Bearer::Any]);
    assert_eq!(read.id(), Some(0x1234));
    assert_eq!(read.timestamp(), Some(1_700_000_000));
    assert!(read.requests_mos());
    let digest = *read.digest().expect("a digest");
    let written = Notification::new("dms.example.com", &[Bearer::Any])
        .unwrap()
        .with_id(0x1234)
        .with_timestamp(1_700_000_000)
        .requesting_mos()
        .with_digest(digest);
    assert_eq!(written.to_bytes(), bytes);
    assert_eq!(written, read);
}

#[test]
fn the_digest_covers_secret_zeroed_message_and_data() {
    let bytes = example();
    let mut expected = b"secret".to_vec();
    expected.extend(&bytes[..26]);
    expected.extend([0; 32]);
    expected.extend(&bytes[58..]);
    expected.extend(b"nonce");
    let received = parse(&bytes).unwrap();
    assert_eq!(received.digest_input(b"secret", b"nonce"), expected);
    let to_send = Notification::new("dms.example.com", &[Bearer::Any])
        .unwrap()
        .with_id(0x1234)
        .with_timestamp(1_700_000_000)
        .requesting_mos();
    assert_eq!(to_send.digest_input(b"secret", b"nonce"), expected);
    assert_eq!(
        received.to_bytes(),
        bytes,
        "asking for the input changes nothing"
    );
}

#[test]
fn the_digest_covers_the_bytes_that_came_not_ours() {
    // Reserved bits set, an 8-byte time, an unknown option 9 at the end.
    let mut bytes = hex("12 7F 11 61 3F 11");
    bytes.extend([0xAA; 32]);
    bytes.extend(hex("18 00 00 00 00 65 53 F1 00 41 07"));
    let read = parse(&bytes).unwrap();
    assert_eq!(
        (read.server_id(), read.timestamp()),
        ("a", Some(1_700_000_000))
    );
    assert_eq!(read.to_bytes(), bytes);
    bytes[6..38].fill(0);
    assert_eq!(read.digest_input(b"", b""), bytes);
}

#[test]
fn small_and_large_values() {
    let smallest = parse(&hex("10 80 11 61")).unwrap();
    assert_eq!(
        (smallest.server_id(), smallest.bearers(), smallest.id()),
        ("a", &[Bearer::Any][..], None)
    );
    assert_eq!(
        (
            smallest.digest(),
            smallest.timestamp(),
            smallest.requests_mos()
        ),
        (None, None, false)
    );
    assert!(parse(&hex("00 80 11 61")).is_ok(), "version 0");
    for length in [1, 14, 15, 16, 255] {
        let name = "n".repeat(length);
        let sent = Notification::new(&name, &[Bearer::Wlan, Bearer::Other(9)])
            .unwrap()
            .with_timestamp(u64::MAX);
        let read = parse(&sent.to_bytes()).unwrap();
        assert_eq!(read, sent, "{length}");
        assert_eq!(read.bearers(), [Bearer::Wlan, Bearer::Other(9)]);
        assert_eq!(
            (read.server_id(), read.timestamp()),
            (name.as_str(), Some(u64::MAX))
        );
    }
    for server_id in ["", "a\n", &"n".repeat(256)] {
        assert!(
            Notification::new(server_id, &[Bearer::Any]).is_err(),
            "{server_id:?}"
        );
    }
    assert!(Notification::new("a", &[]).is_err());
    assert!(Notification::new("a", &[Bearer::Any; 15]).is_err());
}

#[test]
fn bearers_have_codes() {
    for code in 0..=255 {
        assert_eq!(Bearer::from_code(code).code(), code);
    }
    assert_eq!(
        [1, 2, 3].map(Bearer::from_code),
        [Bearer::Cellular, Bearer::Wlan, Bearer::Wireline]
    );
}

#[test]
fn dropped() {
    let option = |option: &'static str| move |error: &NotificationError| matches!(error, NotificationError::Option { option: found, .. } if *found == option);
    let truncated = |error: &NotificationError| matches!(error, NotificationError::Truncated);
    type Check = Box<dyn Fn(&NotificationError) -> bool>;
    let rows: Vec<(&str, Check)> = vec![
        ("", Box::new(truncated)),
        ("10", Box::new(truncated)),
        ("10 80", Box::new(truncated)),
        ("10 80 12 61", Box::new(truncated)),
        ("10 80 1F", Box::new(truncated)),
        ("10 80 1F FF 61", Box::new(truncated)),
        ("11 00 11 61", Box::new(truncated)),
        (
            "10 80 11 61 00",
            Box::new(|error| matches!(error, NotificationError::Trailing { bytes: 1 })),
        ),
        (
            "20 80 11 61",
            Box::new(|error| matches!(error, NotificationError::Version { version: 2 })),
        ),
        (
            "11 00 11 61 01 62",
            Box::new(|error| matches!(error, NotificationError::Repeated { number: 1 })),
        ),
        ("10 00", Box::new(option("SERVER-ID"))),
        ("10 80 10", Box::new(option("SERVER-ID"))),
        ("10 80 11 FF", Box::new(option("SERVER-ID"))),
        ("10 80 11 0A", Box::new(option("SERVER-ID"))),
        ("10 80 21 00", Box::new(option("SERVER-ID"))),
        ("11 00 11 61 10", Box::new(option("PREFERRED-CON-TYPE"))),
        ("11 00 11 61 21 01", Box::new(option("NOTIFICATION-ID"))),
        (
            "11 00 11 61 23 01 02 03",
            Box::new(option("NOTIFICATION-ID")),
        ),
        ("11 00 11 61 31 00", Box::new(option("SHA256-DIGEST"))),
        ("11 00 11 61 42 00 00", Box::new(option("TIMESTAMP"))),
        ("11 00 11 61 51 00", Box::new(option("REQ-MOS"))),
    ];
    for (bytes, expected) in rows {
        let error = parse(&hex(bytes)).expect_err(bytes);
        assert!(expected(&error), "{bytes}: {error:?}");
    }
    let limit = Limits::default().notification_bytes;
    let large = parse(&vec![0x10; limit + 1]);
    assert_eq!(
        large,
        Err(NotificationError::TooLarge {
            bytes: limit + 1,
            limit
        })
    );
}

#[test]
fn every_cut_of_the_example_is_dropped() {
    let bytes = example();
    for length in 0..bytes.len() {
        assert!(parse(&bytes[..length]).is_err(), "{length} bytes");
    }
}
