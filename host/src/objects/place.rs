//! Where the data of an HGET go (OMA DM 2.0, HGET and §6.1): into a node that is there, or into a new instance.

use bailiwick_protocol::{ClientUri, InstanceSelector, MoItem, Node, Scope};

use super::{ObjectError, Objects, Request, rules};
use crate::permissions::Access;

/// Where an item was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The node, or the root of the new instance.
    pub uri: ClientUri,
    /// Whether an instance was made.
    pub created: bool,
}

impl Objects {
    /// Stores one item. `place` is the ClientURI of the command; without it, that of the item counts.
    ///
    /// * `MOID//`, the only instance: its content is replaced, or it is made if there is none.
    /// * choice: without a `place`, the device chooses where the data go, and an item for `MOID//` always makes a
    ///   new instance where the type lets instances come and go. Nothing else could make a second one.
    /// * `MOID/<new>/` is 404: a server cannot choose a MIID.
    pub async fn store(
        &self,
        request: &Request,
        place: Option<&ClientUri>,
        item: &MoItem,
    ) -> Result<Placed, ObjectError> {
        let own = match place {
            Some(_) => None,
            None => item
                .client_uri
                .as_deref()
                .map(|text| ClientUri::parse_within(text, &self.inner.wire))
                .transpose()?,
        };
        let uri = place.or(own.as_ref()).ok_or(ObjectError::NoPlace)?;
        if uri.has_wildcard() {
            return Err(ObjectError::Wildcard {
                uri: uri.to_string(),
            });
        }
        let for_an_instance = uri.instance == InstanceSelector::Only && uri.path.is_empty();
        if for_an_instance
            && self
                .makes_an_instance(request, &uri.moid, place.is_none())
                .await?
        {
            return self.store_new(request, uri, item).await;
        }
        let target = match self.resolve(request, uri, Access::Write).await?.pop() {
            Some(target) => target,
            None => {
                return Err(ObjectError::NotFound {
                    uri: uri.to_string(),
                });
            }
        };
        // What cannot be written is refused before the data are looked at: their errors could tell what is there.
        rules::described(&target.ddf, &target.path)?;
        let nodes = item.nodes(&target.path, Some(&target.ddf), &self.inner.wire)?;
        let uri = target.uri();
        self.replace(request, target, &nodes).await?;
        Ok(Placed {
            uri,
            created: false,
        })
    }

    async fn makes_an_instance(
        &self,
        request: &Request,
        moid: &str,
        device_chooses: bool,
    ) -> Result<bool, ObjectError> {
        let served = self.served(request, moid).await?;
        if device_chooses && served.class.ddf.root.scope == Scope::Dynamic {
            return Ok(true);
        }
        Ok(self.seen(request, &served).await?.is_empty())
    }

    async fn store_new(
        &self,
        request: &Request,
        uri: &ClientUri,
        item: &MoItem,
    ) -> Result<Placed, ObjectError> {
        let permit = request.may_create(&uri.moid)?;
        let served = self.served(request, &uri.moid).await?;
        let nodes: Vec<Node> = item.nodes(&[], Some(&served.class.ddf), &self.inner.wire)?;
        let instance = self.create(request, permit, &nodes).await?;
        Ok(Placed {
            uri: ClientUri::root(&instance.moid, &instance.miid),
            created: true,
        })
    }
}
