//! Linux: who the device is, from the places where distributions, firmware and kernel say so.
//!
//! Everything is read when asked for. What a device does not tell (a file is missing, empty or nonsense)
//! is an empty text; the operator can set any of them in the plug-in's configuration.

mod assignments;
mod device_id;
mod facts;
mod hardware;
mod language;

use assignments::Assignments;
use bailiwick_plugin::{Environment, Error, Identity, Result, StartReason, config, log, os};

/// The environment.
#[derive(Default)]
pub struct Linux;

impl Environment for Linux {
    fn init(&mut self, _reason: StartReason) -> Result<()> {
        match config::get("device-id") {
            Some(id) => device_id::check(&id),
            None => Ok(()),
        }
    }

    fn identity(&mut self) -> Result<Identity> {
        let hardware = hardware::read();
        Ok(Identity {
            device_id: set_or("device-id", device_id::read),
            manufacturer: set_or("manufacturer", || hardware.manufacturer),
            model: set_or("model", || hardware.model),
            device_type: set_or("device-type", || hardware.device_type.into()),
            oem: set_or("oem", String::new),
            hardware_version: set_or("hardware-version", || hardware.version),
            firmware_version: set_or("firmware-version", || hardware.firmware_version),
            software_version: set_or("software-version", || software_version(&os_release())),
            language: set_or("language", language::read),
        })
    }

    fn facts(&mut self, names: &[String]) -> Result<Vec<(String, String)>> {
        Ok(facts::read(names))
    }
}

bailiwick_plugin::export!(environment Linux);

/// The operator's word, or else what was found.
fn set_or(setting: &str, found: impl FnOnce() -> String) -> String {
    config::get(setting).unwrap_or_else(found)
}

/// os-release(5): the file in `/etc` goes first.
fn os_release() -> Assignments {
    let text = text("etc", "os-release").or_else(|| text("lib", "os-release"));
    Assignments::parse(&text.unwrap_or_default())
}

fn software_version(os_release: &Assignments) -> String {
    match os_release.get("PRETTY_NAME") {
        "" => format!(
            "{} {}",
            os_release.get("NAME"),
            os_release.get("VERSION_ID")
        )
        .trim()
        .into(),
        pretty => pretty.into(),
    }
}

/// A small text file, without the white space and zeros around it; `None` if there is nothing to read.
fn text(root: &str, path: &str) -> Option<String> {
    const MAX_LEN: u32 = 64 << 10;
    let bytes = match os::read_file(root, path, MAX_LEN) {
        Ok(bytes) => bytes,
        Err(Error::NotFound) => return None,
        Err(error) => {
            log::write(
                log::Level::Debug,
                "a file cannot be read",
                &[
                    ("root", root),
                    ("path", path),
                    ("error", &error.to_string()),
                ],
            );
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c == '\0' || c.is_whitespace());
    (!text.is_empty()).then(|| text.into())
}

#[cfg(test)]
mod tests;
