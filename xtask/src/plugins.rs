//! Builds every plug-in and lays each out as a device installs it: `plugin.toml`, `plugin.wasm`, its descriptions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::setup::{self, WASM};
use crate::shell::{self, cargo, copy_if_different, step};

/// A crate whose folder has a `plugin.toml`.
struct Plugin {
    name: String,
    folder: PathBuf,
    /// What cargo names the component, without its end.
    library: String,
}

/// Builds every plug-in of `plugins/` and `tests/plugins/`; gives the directory with one folder for each.
pub(crate) fn plugins() -> Result<PathBuf> {
    setup::wasm_target()?;
    let metadata = metadata()?;
    let target = PathBuf::from(text(&metadata, "target_directory")?);
    let plugins = find(&metadata)?;
    step(&format!("{} plug-ins, as WebAssembly", plugins.len()));
    let mut build = cargo(["build", "--release", "--target", WASM]);
    build.args(packages(&plugins));
    shell::run(&mut build)?;

    let built = target.join(WASM).join("release");
    let laid_out = target.join("plugins");
    for plugin in &plugins {
        let component = built.join(format!("{}.wasm", plugin.library));
        lay_out(plugin, &component, &laid_out.join(&plugin.name))
            .with_context(|| format!("plug-in {}", plugin.name))?;
    }
    let names: BTreeSet<_> = plugins.into_iter().map(|plugin| plugin.name).collect();
    remove_others(&laid_out, &names)?;
    eprintln!("    in {}", laid_out.display());
    Ok(laid_out)
}

/// Where cargo builds.
pub(crate) fn target_directory() -> Result<PathBuf> {
    Ok(PathBuf::from(text(&metadata()?, "target_directory")?))
}

/// `--package a --package b ...`: the plug-ins, for other commands that treat them alike.
pub(crate) fn package_arguments() -> Result<Vec<String>> {
    Ok(packages(&find(&metadata()?)?))
}

/// Names of the plug-ins in `tests/plugins`: they have no tests of their own.
pub(crate) fn test_plugins() -> Result<Vec<String>> {
    let folder = shell::root().join("tests/plugins");
    let plugins = find(&metadata()?)?.into_iter();
    Ok(plugins
        .filter(|plugin| plugin.folder.starts_with(&folder))
        .map(|plugin| plugin.name)
        .collect())
}

fn packages(plugins: &[Plugin]) -> Vec<String> {
    plugins
        .iter()
        .flat_map(|plugin| ["--package".into(), plugin.name.clone()])
        .collect()
}

fn metadata() -> Result<Value> {
    let output = shell::output(&mut cargo([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))?;
    serde_json::from_str(&output).context("cargo metadata")
}

fn find(metadata: &Value) -> Result<Vec<Plugin>> {
    let mut plugins = Vec::new();
    let packages = metadata["packages"].as_array();
    for package in packages.into_iter().flatten() {
        let manifest = PathBuf::from(text(package, "manifest_path")?);
        let folder = manifest.parent().unwrap_or(Path::new("/")).to_owned();
        if !folder.join("plugin.toml").is_file() {
            continue;
        }
        let name = text(package, "name")?.to_owned();
        let targets = package["targets"].as_array();
        let component = targets.into_iter().flatten().find(|target| {
            let kinds = target["kind"].as_array();
            kinds.into_iter().flatten().any(|kind| kind == "cdylib")
        });
        let Some(component) = component else {
            bail!(
                "{name} has a plugin.toml, but its Cargo.toml lacks `crate-type = [\"cdylib\", \"rlib\"]`"
            );
        };
        plugins.push(Plugin {
            library: text(component, "name")?.replace('-', "_"),
            name,
            folder,
        });
    }
    Ok(plugins)
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str> {
    value[key]
        .as_str()
        .with_context(|| format!("cargo metadata has no `{key}`"))
}

fn lay_out(plugin: &Plugin, component: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    copy_if_different(component, &to.join("plugin.wasm"))?;
    for entry in fs::read_dir(&plugin.folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default();
        let described = path.extension().is_some_and(|extension| extension == "ddf");
        if described || name == "plugin.toml" {
            copy_if_different(&path, &to.join(name))?;
        }
    }
    Ok(())
}

/// A plug-in that is no longer in the project must not be found by tests.
fn remove_others(laid_out: &Path, names: &BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir(laid_out)? {
        let entry = entry?;
        if !names.contains(&*entry.file_name().to_string_lossy()) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}
