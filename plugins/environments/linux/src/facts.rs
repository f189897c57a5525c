//! Named facts beyond the identity.

use crate::{os_release, text};
use bailiwick_plugin::os;

/// A name and how it is found out.
type Fact = (&'static str, fn() -> Option<String>);

const FACTS: &[Fact] = &[
    ("interfaces", || Some(interfaces().join(","))),
    ("kernel.name", kernel_name),
    ("kernel.release", || text("proc", "sys/kernel/osrelease")),
    ("memory.available", || memory("MemAvailable")),
    ("memory.total", || memory("MemTotal")),
    ("os.id", || Some(os_release().get("ID").into())),
    ("os.version", || Some(os_release().get("VERSION_ID").into())),
];

/// The wanted facts, or all; only what is asked for is found out. Interfaces add `interface.<name>.state`.
pub(crate) fn read(names: &[String]) -> Vec<(String, String)> {
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let fixed = FACTS
        .iter()
        .filter(|(name, _)| is_wanted(name))
        .filter_map(|(name, find)| Some((name.to_string(), find()?)));
    let mut facts: Vec<(String, String)> = fixed.filter(|(_, value)| !value.is_empty()).collect();
    if names.is_empty() || names.iter().any(|name| name.starts_with("interface.")) {
        let states = interfaces().into_iter().filter_map(|interface| {
            let state = text("sys", &format!("class/net/{interface}/operstate"))?;
            Some((format!("interface.{interface}.state"), state))
        });
        facts.extend(states.filter(|(name, _)| is_wanted(name)));
    }
    facts
}

fn kernel_name() -> Option<String> {
    let output = os::run("uname", &[])
        .ok()
        .filter(|output| output.exit_code == 0)?;
    Some(String::from_utf8_lossy(&output.stdout).trim().into())
}

/// A line of `/proc/meminfo`, such as `MemTotal:  16 kB`, in bytes.
fn memory(field: &str) -> Option<String> {
    let meminfo = text("proc", "meminfo")?;
    let value = meminfo
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes.checked_mul(1024)?.to_string())
}

fn interfaces() -> Vec<String> {
    os::list_dir("sys", "class/net").unwrap_or_default()
}
