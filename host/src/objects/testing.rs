//! A bench for tests: plug-ins that keep trees in their storage, or answer as a test tells them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use bailiwick_protocol::{ClientUri, Ddf, Limits as WireLimits, Node, Value};

use super::{Answer, Objects, Request, Serve};
use crate::authority::{Authority, Instance};
use crate::config::{Limits, PolicyRule};
use crate::permissions::Permissions;
use crate::plugins::imports::storage::Namespace;
use crate::plugins::{Call, CallError, Change, Class, ExecOutcome, Operation, Output, PluginError};
use crate::store::Store;

/// A type with everything that the rules distinguish.
pub(crate) const MOID: &str = "urn:oma:mo:moid:1.0";
/// A type whose instances come with its plug-in.
pub(crate) const FIXED: &str = "urn:oma:mo:fixed:1.0";
/// Served by the plug-in with dynamic types, by its manifest: instances say which types there are.
pub(crate) const META: &str = "urn:oma:mo:meta:1.0";

/// What a test plug-in does instead of its work.
type Script = Box<dyn Fn(&Call) -> Option<Result<Output, CallError>>>;

/// Plug-ins of a test; a cheap handle.
#[derive(Clone, Default)]
pub(crate) struct Bench {
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    classes: BTreeMap<String, Class>,
    /// Trees of instances that plug-ins bring.
    brought: BTreeMap<Instance, Vec<Node>>,
    /// Dynamic types, when a META instance with that name in `ID` exists.
    types: BTreeMap<String, String>,
    script: Option<Script>,
    asked: Vec<String>,
}

/// Objects over a bench and a store in memory.
pub(crate) struct Scene {
    pub(crate) bench: Bench,
    pub(crate) store: Store,
    pub(crate) permissions: Permissions,
    pub(crate) objects: Objects,
    pub(crate) limits: Limits,
}

pub(crate) fn north() -> Authority {
    Authority::server("north")
}

pub(crate) fn south() -> Authority {
    Authority::server("south")
}

impl Scene {
    /// Two authorities that may manage the types of the bench; `policy` is (authority, MOID, rights).
    pub(crate) async fn new(policy: &[(&str, &str, &str)]) -> Self {
        Self::over(Store::in_memory().unwrap(), policy).await
    }

    /// As [`Self::new`], over another store.
    pub(crate) async fn over(store: Store, policy: &[(&str, &str, &str)]) -> Self {
        let limits = Limits {
            call_ms: 20,
            request_ms: 500,
            nodes: 60,
            ..Limits::default()
        };
        let rules: Vec<PolicyRule> = policy
            .iter()
            .map(|(authority, moid, rights)| PolicyRule {
                authority: (*authority).to_owned(),
                moid: (*moid).to_owned(),
                rights: rights.split('+').map(str::to_owned).collect(),
            })
            .collect();
        let permissions = Permissions::new(store.clone(), &rules).unwrap();
        let tx = store.begin();
        let moids = [MOID, FIXED, META, "urn:x:dynamic:1.0"].map(str::to_owned);
        for who in [north(), south()] {
            permissions.set_permitted(&tx, &who, &moids).unwrap();
        }
        tx.commit().await.unwrap();
        let bench = Bench::default();
        bench.add_class(MOID, "trees", &moid_ddf());
        bench.add_class(FIXED, "fixtures", &fixed_ddf());
        bench.add_class(META, "shapes", &meta_ddf());
        let mut objects = Objects::new(bench.clone(), permissions.clone(), store.clone(), &limits);
        Rc::get_mut(&mut objects.inner).unwrap().naming = counted;
        Self {
            bench,
            store,
            permissions,
            objects,
            limits,
        }
    }

    pub(crate) fn begin(&self, who: &Authority) -> Request {
        self.objects.begin(who, None, 1_000)
    }

    /// Makes an instance of the authority's own.
    pub(crate) async fn create(&self, who: &Authority, moid: &str, tree: &[Node]) -> Instance {
        let request = self.begin(who);
        let permit = self.objects.may_create(&request, moid).unwrap();
        let instance = self.objects.create(&request, permit, tree).await.unwrap();
        request.commit().await.unwrap();
        instance
    }
}

impl Bench {
    fn add_class(&self, moid: &str, plugin: &str, ddf: &str) {
        let parsed = Ddf::parse(ddf.as_bytes(), &WireLimits::DEFAULT).unwrap();
        let class = Class {
            moid: moid.to_owned(),
            plugin: plugin.into(),
            ddf: Rc::new(parsed),
            ddf_text: ddf.into(),
            shared_storage: false,
        };
        self.state
            .borrow_mut()
            .classes
            .insert(moid.to_owned(), class);
    }

    /// An instance that the plug-in brings along.
    pub(crate) fn bring(&self, moid: &str, miid: &str, tree: Vec<Node>) {
        self.state
            .borrow_mut()
            .brought
            .insert(Instance::new(moid, miid), tree);
    }

    /// What the plug-in with dynamic types can serve beyond its manifest.
    pub(crate) fn offer(&self, moid: &str, ddf: &str) {
        self.state
            .borrow_mut()
            .types
            .insert(moid.to_owned(), ddf.to_owned());
    }

    /// Answers calls for which the script has an answer.
    pub(crate) fn script(
        &self,
        script: impl Fn(&Call) -> Option<Result<Output, CallError>> + 'static,
    ) {
        self.state.borrow_mut().script = Some(Box::new(script));
    }

    /// What was asked since the last time, as `plugin: operation`.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state.borrow_mut().asked)
    }

    fn work(&self, call: &Call) -> Result<Output, PluginError> {
        let class_of = |moid: &str| {
            self.state
                .borrow()
                .classes
                .get(moid)
                .map(|c| c.plugin.clone())
        };
        let brings = |moid: &str| class_of(moid).as_ref() == Some(&call.plugin);
        let mut tree = Tree { bench: self, call };
        match &call.operation {
            Operation::Classes => Ok(Output::Classes(self.types_of(call))),
            Operation::Instances { moid } if brings(moid) => {
                let state = self.state.borrow();
                let own = state
                    .brought
                    .keys()
                    .filter(|instance| instance.moid == *moid);
                Ok(Output::Instances(
                    own.map(|instance| instance.miid.clone()).collect(),
                ))
            }
            Operation::Instances { .. } => Ok(Output::Instances(Vec::new())),
            Operation::Create { initial, .. } => tree.put(initial.clone()).map(|()| Output::Done),
            Operation::DeleteInstance { .. } => Ok(Output::Done),
            Operation::Read { path, .. } => {
                let below = tree
                    .get()?
                    .into_iter()
                    .filter(|node| node.path.starts_with(path));
                let nodes: Vec<Node> = below
                    .map(|node| Node {
                        path: node.path[path.len()..].to_vec(),
                        value: node.value,
                    })
                    .collect();
                if nodes.is_empty() {
                    Err(PluginError::NotFound)
                } else {
                    Ok(Output::Nodes(nodes))
                }
            }
            Operation::Apply { changes, .. } => tree.apply(changes).map(|()| Output::Done),
            Operation::Execute { path, .. } => match path.last().map(String::as_str) {
                Some("Start") => Ok(Output::Executed(ExecOutcome::Started)),
                _ => Ok(Output::Executed(ExecOutcome::Completed)),
            },
            other => panic!("{other:?}"),
        }
    }

    /// The offered types of which there is a META instance, whoever owns it.
    fn types_of(&self, call: &Call) -> Vec<(String, String)> {
        let offered = self.state.borrow().types.clone();
        let exists = |moid: &str| {
            (1..10).any(|n| {
                let namespace = Namespace::instance("shapes", &Instance::new(META, n.to_string()));
                let tree = namespace
                    .get(&call.transaction, "tree")
                    .unwrap()
                    .unwrap_or_default();
                String::from_utf8_lossy(&tree).contains(moid)
            })
        };
        offered
            .into_iter()
            .filter(|(moid, _)| exists(moid))
            .collect()
    }
}

impl Serve for Bench {
    fn call(&self, call: Call) -> Answer<'_> {
        Box::pin(async move {
            let what = format!("{}: {:?}", call.plugin, call.operation);
            self.state.borrow_mut().asked.push(what);
            let mark = call.transaction.mark();
            let scripted = self
                .state
                .borrow()
                .script
                .as_ref()
                .and_then(|script| script(&call));
            let outcome = scripted.unwrap_or_else(|| {
                self.work(&call).map_err(|error| CallError::Refused {
                    plugin: call.plugin.to_string(),
                    error,
                })
            });
            if outcome.is_err() {
                call.transaction.roll_back_to(mark);
            }
            outcome
        })
    }

    fn class(&self, moid: &str) -> Option<Class> {
        self.state.borrow().classes.get(moid).cloned()
    }

    fn classes(&self) -> Vec<Class> {
        self.state.borrow().classes.values().cloned().collect()
    }

    fn dynamic(&self) -> Vec<Rc<str>> {
        vec!["shapes".into()]
    }

    fn storage_quota(&self, _plugin: &str) -> usize {
        1 << 20
    }
}

/// The tree of the instance that a call addresses.
struct Tree<'a> {
    bench: &'a Bench,
    call: &'a Call,
}

impl Tree<'_> {
    fn instance(&self) -> &Instance {
        self.call
            .instance
            .as_ref()
            .expect("a call that addresses an instance")
    }

    fn get(&self) -> Result<Vec<Node>, PluginError> {
        if let Some(tree) = self.bench.state.borrow().brought.get(self.instance()) {
            return Ok(tree.clone());
        }
        let namespace = Namespace::instance(&self.call.plugin, self.instance());
        let bytes = namespace
            .get(&self.call.transaction, "tree")?
            .ok_or(PluginError::NotFound)?;
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    fn put(&mut self, tree: Vec<Node>) -> Result<(), PluginError> {
        if let Some(own) = self
            .bench
            .state
            .borrow_mut()
            .brought
            .get_mut(self.instance())
        {
            *own = tree;
            return Ok(());
        }
        let namespace = Namespace::instance(&self.call.plugin, self.instance());
        let bytes = serde_json::to_vec(&tree).unwrap();
        namespace.commit(
            &self.call.transaction,
            vec![("tree".into(), Some(bytes))],
            1 << 20,
        )
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), PluginError> {
        let nodes = self.get()?.into_iter().map(|node| (node.path, node.value));
        let mut nodes: BTreeMap<Vec<String>, Option<Value>> = nodes.collect();
        for change in changes {
            match change {
                Change::Put(node) => {
                    nodes.insert(node.path.clone(), node.value.clone());
                }
                Change::Delete(path) => nodes.retain(|known, _| !known.starts_with(path)),
            }
        }
        self.put(
            nodes
                .into_iter()
                .map(|(path, value)| Node { path, value })
                .collect(),
        )
    }
}

/// A tree of text leaves, given by their paths; interior nodes come by themselves.
pub(crate) fn tree(leaves: &[(&str, &str)]) -> Vec<Node> {
    let mut nodes = BTreeMap::from([(Vec::new(), None)]);
    for (path, text) in leaves {
        let path: Vec<String> = path.split('/').map(str::to_owned).collect();
        for length in 1..path.len() {
            nodes.entry(path[..length].to_vec()).or_insert(None);
        }
        nodes.insert(path, Some(Value::Chr((*text).to_owned())));
    }
    nodes
        .into_iter()
        .map(|(path, value)| Node { path, value })
        .collect()
}

/// One leaf, as it is written to the ClientURI that names it.
pub(crate) fn leaf(text: &str) -> Vec<Node> {
    vec![Node {
        path: Vec::new(),
        value: Some(Value::Chr(text.to_owned())),
    }]
}

pub(crate) fn uri(text: &str) -> ClientUri {
    text.replacen("M/", &format!("{MOID}/"), 1).parse().unwrap()
}

/// A node of a DDF: name (`x` stands for unnamed), AccessType elements, format, scope, occurrence, then children.
fn node(name: &str, access: &str, properties: &str, children: &str) -> String {
    let name = if name == "x" { "" } else { name };
    let access: String = access
        .split(' ')
        .filter(|a| !a.is_empty())
        .map(|a| format!("<{a}/>"))
        .collect();
    let mut rest = String::new();
    for property in properties.split(' ').filter(|p| !p.is_empty()) {
        rest += &match property {
            "Permanent" => "<Scope><Permanent/></Scope>".to_owned(),
            "Dynamic" => "<Scope><Dynamic/></Scope>".to_owned(),
            "One" | "ZeroOrOne" | "ZeroOrMore" | "OneOrMore" => {
                format!("<Occurrence><{property}/></Occurrence>")
            }
            format if !format.contains('=') => format!("<DFFormat><{format}/></DFFormat>"),
            default => format!("<DefaultValue>{}</DefaultValue>", &default[1..]),
        };
    }
    format!(
        "<Node><NodeName>{name}</NodeName><DFProperties><AccessType>{access}</AccessType>{rest}</DFProperties>{children}</Node>"
    )
}

fn document(root: &str) -> String {
    format!("<MgmtTree><VerDTD>1.2</VerDTD>{root}</MgmtTree>")
}

/// `<x>` { ID, Setting?, Level (default 7), State, Secret, Data/`<x>`{Date, Value?, Note=none}, Hidden/Key, Start }
fn moid_ddf() -> String {
    let data = node(
        "x",
        "Get Add Delete",
        "node Dynamic ZeroOrMore",
        &[
            node("Date", "Get Replace", "chr Dynamic One", ""),
            node(
                "Value",
                "Get Replace Add Delete",
                "chr Dynamic ZeroOrOne",
                "",
            ),
            node("Note", "Get Replace", "chr Permanent One =none", ""),
        ]
        .concat(),
    );
    document(&node(
        "x",
        "Get",
        "node Dynamic ZeroOrMore",
        &[
            node("ID", "Get Replace", "chr Permanent One", ""),
            node(
                "Setting",
                "Get Replace Add Delete",
                "chr Dynamic ZeroOrOne",
                "",
            ),
            node("State", "Get", "chr Permanent ZeroOrOne", ""),
            node("Secret", "Replace", "chr Permanent One", ""),
            node("Data", "Get", "node Permanent ZeroOrOne", &data),
            node(
                "Hidden",
                "Replace",
                "node Permanent ZeroOrOne",
                &node("Key", "Get Replace", "chr Permanent One", ""),
            ),
            node(
                "List",
                "Get",
                "node Permanent ZeroOrOne",
                &node("x", "Get Replace Delete", "chr Dynamic OneOrMore", ""),
            ),
            node("Start", "Exec", "null Permanent ZeroOrOne", ""),
            node("Stop", "Exec Get", "null Permanent ZeroOrOne", ""),
        ]
        .concat(),
    ))
}

fn fixed_ddf() -> String {
    document(&node(
        "Fixed",
        "Get",
        "node Permanent One",
        &node("Name", "Get Replace", "chr Permanent One", ""),
    ))
}

fn meta_ddf() -> String {
    document(&node(
        "x",
        "Get",
        "node Dynamic ZeroOrMore",
        &node("ID", "Get Replace", "chr Permanent One", ""),
    ))
}

/// A description with one leaf of this name, for dynamic types.
pub(crate) fn ddf_with_leaf(name: &str) -> String {
    document(&node(
        "x",
        "Get",
        "node Dynamic ZeroOrMore",
        &node(name, "Get Replace", "chr Permanent One", ""),
    ))
}

/// The smallest number that is free: names that tests can foresee.
fn counted(moid: &str, existing: &BTreeSet<Instance>) -> Option<Instance> {
    let mut names = (1..).map(|number: u32| Instance::new(moid, number.to_string()));
    names.find(|name| !existing.contains(name))
}
