//! What the firmware says of the machine: SMBIOS/DMI on most PCs and servers, a device tree elsewhere.

use crate::text;

/// Empty where unknown.
#[derive(Default)]
pub(crate) struct Hardware {
    pub(crate) manufacturer: String,
    pub(crate) model: String,
    pub(crate) version: String,
    pub(crate) firmware_version: String,
    pub(crate) device_type: &'static str,
}

pub(crate) fn read() -> Hardware {
    let (manufacturer, model) = (dmi("sys_vendor"), dmi("product_name"));
    if manufacturer.is_empty() && model.is_empty() {
        return device_tree();
    }
    Hardware {
        manufacturer,
        model,
        version: dmi("product_version"),
        firmware_version: dmi("bios_version"),
        device_type: chassis(&dmi("chassis_type")),
    }
}

fn dmi(name: &str) -> String {
    let found = text("sys", &format!("class/dmi/id/{name}"));
    found
        .filter(|text| !is_placeholder(text))
        .unwrap_or_default()
}

/// What board makers leave in fields that were theirs to fill.
fn is_placeholder(text: &str) -> bool {
    const KNOWN: &[&str] = &[
        "default string",
        "empty",
        "n/a",
        "none",
        "not applicable",
        "not available",
        "not specified",
        "o.e.m.",
        "system manufacturer",
        "system product name",
        "system version",
        "to be filled by o.e.m.",
        "undefined",
        "unknown",
    ];
    KNOWN.contains(&text.to_ascii_lowercase().as_str())
}

/// SMBIOS 3.7, table 17, as far as it says what the device is for.
fn chassis(number: &str) -> &'static str {
    match number.parse() {
        Ok(3..=7 | 13 | 15 | 16 | 24 | 35 | 36) => "desktop",
        Ok(8..=10 | 14 | 31 | 32) => "laptop",
        Ok(11) => "handheld",
        Ok(17 | 23 | 28 | 29) => "server",
        Ok(30) => "tablet",
        Ok(33) => "gateway",
        Ok(34) => "embedded",
        _ => "",
    }
}

/// `model` is for people; `compatible` is a list of `vendor,model`, the most specific first, with zeros between.
fn device_tree() -> Hardware {
    let property = |name| text("sys", &format!("firmware/devicetree/base/{name}"));
    let compatible = property("compatible").unwrap_or_default();
    let specific = compatible.split('\0').next().unwrap_or_default();
    let (vendor, model) = specific.split_once(',').unwrap_or_default();
    Hardware {
        manufacturer: vendor.into(),
        model: property("model").unwrap_or_else(|| model.into()),
        ..Hardware::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chassis_types_become_device_types() {
        for (number, expected) in [
            ("3", "desktop"),
            ("10", "laptop"),
            ("23", "server"),
            ("30", "tablet"),
            ("33", "gateway"),
            ("2", ""),
            ("300", ""),
            ("", ""),
            ("x", ""),
        ] {
            assert_eq!(chassis(number), expected, "{number}");
        }
    }
}
