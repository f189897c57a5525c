//! The path of a ClientURI with unknown names or wildcards in it, against the nodes of one instance.

use std::collections::BTreeMap;

use bailiwick_protocol::{ClientUri, Ddf, Node, Path, Segment, Value};

use super::{conditions, not_found};
use crate::objects::{ObjectError, Objects, Request, Served, rules};
use crate::permissions::{Access, Permit};

impl Objects {
    /// The paths that the ClientURI means in the instance of the permit. Names behind the last unknown one are
    /// not looked up.
    pub(super) async fn walk(
        &self,
        request: &Request,
        permit: &Permit,
        served: &Served,
        ddf: &Ddf,
        uri: &ClientUri,
    ) -> Result<Vec<Path>, ObjectError> {
        if uri
            .path
            .iter()
            .any(|segment| matches!(segment, Segment::Unknown(_)))
        {
            request.permit(Access::Read, permit.instance())?;
        }
        let base: Path = uri.path.iter().map_while(name).cloned().collect();
        let behind: Path = uri.path.iter().rev().map_while(name).cloned().collect();
        let last = uri.path.len().saturating_sub(behind.len());
        let segments = uri.path.get(base.len()..last).unwrap_or_default();

        rules::may_read(ddf, &base)?;
        let nodes = self.fetch(request, permit, served, ddf, &base).await?;
        let nodes = Nodes::new(&base, rules::readable_part(ddf, &base, nodes));
        let mut paths = vec![base];
        for segment in segments {
            paths = nodes.step(uri, paths, segment)?;
        }
        for path in &mut paths {
            path.extend(behind.iter().rev().cloned());
        }
        paths.retain(|path| ddf.find(path).is_some());
        match paths.is_empty() {
            true => Err(not_found(uri)),
            false => Ok(paths),
        }
    }
}

fn name(segment: &Segment) -> Option<&String> {
    match segment {
        Segment::Name(name) => Some(name),
        Segment::Unknown(_) | Segment::All => None,
    }
}

/// Readable nodes by path from the root of the instance.
struct Nodes(BTreeMap<Path, Option<Value>>);

impl Nodes {
    fn new(base: &[String], nodes: Vec<Node>) -> Self {
        Self(
            nodes
                .into_iter()
                .map(|node| ([base, &node.path].concat(), node.value))
                .collect(),
        )
    }

    /// One segment further down from each of the paths.
    fn step(
        &self,
        uri: &ClientUri,
        paths: Vec<Path>,
        segment: &Segment,
    ) -> Result<Vec<Path>, ObjectError> {
        let mut next = Vec::new();
        for path in paths {
            match segment {
                Segment::Name(name) => {
                    let child = [path.as_slice(), std::slice::from_ref(name)].concat();
                    next.extend(self.0.contains_key(&child).then_some(child));
                }
                Segment::All => next.extend(self.children(&path).cloned()),
                Segment::Unknown(letter) => {
                    let mut matching = self
                        .children(&path)
                        .filter(|child| self.meets(uri, *letter, child));
                    next.extend(matching.next().cloned());
                    let others = matching.count();
                    if others > 0 {
                        return Err(ObjectError::Ambiguous {
                            uri: uri.to_string(),
                            found: others + 1,
                        });
                    }
                }
            }
        }
        Ok(next)
    }

    fn children<'a>(&'a self, parent: &'a [String]) -> impl Iterator<Item = &'a Path> {
        self.0
            .range(parent.to_vec()..)
            .map(|(path, _)| path)
            .take_while(move |path| path.starts_with(parent))
            .filter(move |path| path.len() == parent.len() + 1)
    }

    fn meets(&self, uri: &ClientUri, letter: char, node: &[String]) -> bool {
        conditions(uri, letter).all(|condition| {
            let leaf = self.0.get(&[node, &condition.path].concat());
            leaf.and_then(Option::as_ref)
                .is_some_and(|value| value.as_text() == condition.value)
        })
    }
}
