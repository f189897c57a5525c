//! The test bed itself.

use bailiwick_tests::card::{Card, CardBed, Content, Key, Root};

pub(crate) fn opensc_reads_the_card(test: &str) {
    let Some(mut bed) = CardBed::start(test) else {
        return;
    };
    let root = Root::new("North");
    for key in [Key::Rsa, Key::Ec] {
        let content = Content::new(&root, key).with("bootstrap", b"the bootstrap");
        bed.insert(0, &Card::pkcs15(&content));
        let output = bed.run("pkcs15-tool", &["-r", "0", "--read-certificate", "45"]);
        let pem = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(pem.contains("BEGIN CERTIFICATE"), "{output:?}");
        let output = bed.run(
            "pkcs15-tool",
            &["-r", "0", "--raw", "--read-data-object", "2.23.43.7.1"],
        );
        assert_eq!(output.stdout, b"the bootstrap", "{output:?}");
        bed.pull(0);
    }
}

pub(crate) fn cards_come_and_go(test: &str) {
    let Some(mut bed) = CardBed::start(test) else {
        return;
    };
    let content = Content::new(&Root::new("North"), Key::Ec);
    let serial = |bed: &CardBed, slot: &str| {
        let output = bed.run("pkcs15-tool", &["-r", slot, "--dump"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().find(|line| line.contains("Serial number"));
        line.map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned())
    };
    bed.insert(0, &Card::pkcs15(&content).option("serial", "AA01"));
    bed.insert(1, &Card::pkcs15(&content).option("serial", "AA02"));
    assert_eq!(serial(&bed, "0").as_deref(), Some("aa01"));
    assert_eq!(serial(&bed, "1").as_deref(), Some("aa02"));
    bed.swap(0, &Card::pkcs15(&content).option("serial", "AA03"));
    assert_eq!(serial(&bed, "0").as_deref(), Some("aa03"));
    bed.kill_pcscd();
    assert_eq!(serial(&bed, "0"), None);
    bed.start_pcscd();
    bed.insert(0, &Card::pkcs15(&content).option("serial", "AA04"));
    assert_eq!(serial(&bed, "0").as_deref(), Some("aa04"));
    assert!(bed.is_in(0) && !bed.is_in(1));
}
