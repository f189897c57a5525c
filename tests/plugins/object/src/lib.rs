//! An object that misbehaves in the way that its setting `behaviour` names. Set it in `bailiwick.toml`:
//!
//! ```toml
//! [[plugins]]
//! path = "target/plugins/hostile-object"
//! config = { behaviour = "spin" }
//! ```
//!
//! Reading the root does it; behaviours that end in `-in-init` do it when the sandbox starts as well. Without the
//! setting, the name of the instance that is read picks the behaviour.

mod abuse;
mod reach;
mod storm;
mod trees;

use bailiwick_plugin::{
    Error, ExecOutcome, ManagementObject, MoClass, Node, NodeRef, ReadOptions, Result, StartReason,
    config,
};

/// The object.
#[derive(Default)]
pub struct Hostile {
    /// What must not survive: how often this sandbox was read.
    reads: i64,
}

impl ManagementObject for Hostile {
    fn init(&mut self, _reason: StartReason) -> Result<()> {
        if let Some(behaviour) = behaviour().strip_suffix("-in-init") {
            self.misbehave(behaviour)?;
        }
        Ok(())
    }

    fn instances(&mut self, _mo: &str) -> Result<Vec<String>> {
        Ok(match behaviour().as_str() {
            "" => trees::names(),
            "many-instances" => (0..50_000).map(|number| number.to_string()).collect(),
            "odd-instances" => vec!["1\n".into()],
            "empty-instances" => vec![String::new()],
            "repeated-instances" => vec!["1".into(), "1".into()],
            "long-instances" => vec!["1".repeat(1 << 20)],
            _ => vec!["1".into()],
        })
    }

    fn classes(&mut self) -> Result<Vec<MoClass>> {
        match behaviour().as_str() {
            "many-classes" => Ok(trees::many_classes()),
            "deep-class" => Ok(trees::deep_class()),
            "same-class" => Ok(trees::same_class()),
            "long-class" => Ok(trees::long_class()),
            _ => Ok(Vec::new()),
        }
    }

    fn read(&mut self, target: &NodeRef, _options: ReadOptions) -> Result<Vec<Node>> {
        self.serve(target)
    }

    fn execute(&mut self, target: &NodeRef) -> Result<ExecOutcome> {
        self.serve(target).map(|_| ExecOutcome::Completed)
    }
}

impl Hostile {
    fn serve(&mut self, target: &NodeRef) -> Result<Vec<Node>> {
        let behaviour = behaviour();
        match behaviour.trim_end_matches("-in-init") {
            "" => self.misbehave(&target.instance),
            behaviour => self.misbehave(behaviour),
        }
    }

    fn misbehave(&mut self, behaviour: &str) -> Result<Vec<Node>> {
        match behaviour {
            "trap" => abuse::trap(),
            "panic" => abuse::panic_at_length(),
            "spin" => abuse::spin(),
            "recurse" => abuse::recurse(),
            "allocate" => abuse::allocate(),
            "answer-late" => Ok(abuse::answer_late()),
            "clock" => Ok(abuse::read_the_clock()),
            "print" => Ok(abuse::print()),
            "open-file" => Ok(abuse::open_file()),
            "environment" => Ok(abuse::read_the_environment()),
            "random" => Ok(abuse::draw_a_random_number()),
            "exit" => abuse::exit(),
            "log-flood" => Ok(storm::log_flood()),
            "log-line" => Ok(storm::log_line()),
            "log-fields" => Ok(storm::log_fields()),
            "alerts" => storm::alerts(),
            "rewrite" => storm::rewrite(),
            "put-and-delete" => storm::put_and_delete(),
            "delete-nothing" => storm::delete_nothing(),
            "scan" => storm::scan(),
            "ask" => storm::ask_the_environment(),
            "fill" => reach::fill_the_storage(),
            "keys" => reach::keys_of_others(),
            "bad-keys" => reach::bad_keys(),
            "remember" => {
                self.reads += 1;
                reach::remember(self.reads)
            }
            "fact" => reach::fact(),
            "rush" => reach::rush(),
            "long-list" => Ok(trees::long_list()),
            "long-text" => Ok(trees::long_text()),
            "long-error" => Err(Error::other("x".repeat(3 << 20))),
            tree => trees::tree(tree),
        }
    }
}

bailiwick_plugin::export!(object Hostile);

fn behaviour() -> String {
    config::get("behaviour").unwrap_or_default()
}

/// A harmless answer.
fn harmless() -> Vec<Node> {
    vec![Node::interior(&[])]
}

/// An answer of one text.
fn text(text: impl Into<String>) -> Vec<Node> {
    vec![Node::interior(&[]), Node::leaf(&["Text"], text.into())]
}
