//! An environment that misbehaves when it is asked for certain facts.

use bailiwick_plugin::{Environment, Error, Identity, Result, device, os};

/// The environment.
#[derive(Default)]
pub struct Hostile;

impl Environment for Hostile {
    fn identity(&mut self) -> Result<Identity> {
        Ok(Identity::default())
    }

    fn facts(&mut self, names: &[String]) -> Result<Vec<(String, String)>> {
        let name = names.first().map(String::as_str).unwrap_or_default();
        let value = match name {
            // A command that takes longer than any call may.
            "sleep" => format!("{:?}", os::run("sleep", &[])?),
            // Its own question, through the host, back to itself.
            "circle" => format!("{:?}", device::facts(&["circle"])?),
            "slow" => loop {
                std::hint::black_box(0);
            },
            "escape" => escape()?,
            "trap" => panic!("as asked for"),
            "long" => "x".repeat(5 << 20),
            _ => String::new(),
        };
        Ok(vec![(name.to_owned(), value)])
    }
}

bailiwick_plugin::export!(environment Hostile);

/// Tries to leave what it was granted: the directory `etc` and the commands `sleep` and `echo`. Answers with what worked.
fn escape() -> Result<String> {
    os::read_file("etc", "hostname", 10).or_else(|error| match error {
        Error::NotFound => Ok(Vec::new()),
        other => Err(other),
    })?;
    let mut worked = Vec::new();
    let paths = [
        ("etc", "../proc/self/environ"),
        ("etc", "/proc/self/environ"),
        ("etc", "x/../../proc/self/environ"),
        ("etc", "mtab"),
        ("etc", ""),
        ("etc", "."),
        ("etc", "hostname\0"),
        ("proc", "self/environ"),
        ("", "etc/hostname"),
        ("/", "etc/hostname"),
        ("..", "etc/hostname"),
    ];
    for (root, path) in paths {
        if os::read_file(root, path, u32::MAX).is_ok() {
            worked.push(format!("read {root}:{path}"));
        }
    }
    for (root, path) in [("etc", ".."), ("etc", "/"), ("proc", "."), ("", "/")] {
        if os::list_dir(root, path).is_ok() {
            worked.push(format!("list {root}:{path}"));
        }
    }
    let commands: [(&str, &[&str]); 7] = [
        ("sh", &["-c", "id"]),
        ("/bin/sh", &[]),
        ("echo", &[]),
        ("echo", &["-e"]),
        ("echo", &["a", "b"]),
        ("echo", &["a\0b"]),
        ("sleep", &["0"]),
    ];
    for (command, arguments) in commands {
        if os::run(command, arguments).is_ok() {
            worked.push(format!("run {command} {arguments:?}"));
        }
    }
    let said = os::run("echo", &["$(id); `id` | id > /tmp/x"])?;
    if said.stdout != b"$(id); `id` | id > /tmp/x\n" {
        worked.push(format!("shell: {said:?}"));
    }
    Ok(worked.join(", "))
}
