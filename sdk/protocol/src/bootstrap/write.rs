//! Accounts to bootstrap document.

use super::{
    Account, BootstrapDocument, DMACC_MOID, SecMode,
    read::{ANCHOR, CRL, CRL_URI, EST, EXT, PIN},
};
use crate::{
    client_uri::ClientUri,
    object::{MoItem, Node},
    value::Value,
};

pub(super) fn document(document: &BootstrapDocument) -> Vec<u8> {
    let accounts = document.accounts.iter().map(account);
    let items: Vec<MoItem> = accounts.chain(document.objects.iter().cloned()).collect();
    MoItem::to_bytes(&items)
}

/// Nodes in the order of the DM Account MO.
fn account(account: &Account) -> MoItem {
    let mut tree = Tree::default();
    tree.text("SrvID", &account.srv_id);
    tree.text("SrvURI", &account.srv_uri);
    tree.text("Name", &account.name);
    for (index, moid) in (1..).zip(&account.permitted_moids) {
        tree.text(&format!("Perm/{index}/MOID"), moid);
    }
    if let Some(auth) = &account.auth.bootstrap {
        let sec_mode = match auth.sec_mode {
            SecMode::Psk => 0,
            SecMode::Certificate => 2,
        };
        tree.text("Auth/Bootstrap/ServerURI", &auth.server_uri);
        tree.bytes("Auth/Bootstrap/SecMode", &[sec_mode]);
        tree.bytes("Auth/Bootstrap/ClientPubKey", &auth.client_public);
        tree.bytes("Auth/Bootstrap/ServerPubKey", &auth.server_public);
        tree.bytes(
            "Auth/Bootstrap/ClientSecretKey",
            auth.client_secret.expose(),
        );
    }
    if let Some(auth) = &account.auth.noti {
        tree.leaf("Auth/Noti/Type", Value::Int(auth.kind));
        tree.bytes("Auth/Noti/Data", &auth.data);
        tree.bytes("Auth/Noti/Secret", auth.secret.expose());
    }
    if let Some(auth) = &account.auth.trsp {
        tree.bytes("Auth/Trsp/Data", &auth.data);
        tree.bytes("Auth/Trsp/Secret", auth.secret.expose());
    }
    if let Some(push) = &account.push {
        tree.text("Push/GCM/SenderID", &push.sender_id);
        tree.text("Push/GCM/RegURI", &push.reg_uri);
        tree.text("Push/GCM/UnRegURI", &push.unreg_uri);
        tree.text("Push/GCM/RegParams", &push.reg_params);
    }
    for (index, anchor) in (1..).zip(&account.auth.anchors_der) {
        tree.bytes(&format!("{EXT}/{ANCHOR}/{index}"), anchor);
    }
    for (index, crl) in (1..).zip(&account.auth.crls_der) {
        tree.bytes(&format!("{EXT}/{CRL}/{index}"), crl);
    }
    if let Some(uri) = &account.auth.crl_uri {
        tree.text(&format!("{EXT}/{CRL_URI}"), uri);
    }
    for (index, pin) in (1..).zip(&account.auth.pins) {
        tree.bytes(&format!("{EXT}/{PIN}/{index}"), pin);
    }
    if let Some(uri) = &account.est_uri {
        tree.text(&format!("{EXT}/{EST}"), uri);
    }
    for node in &account.ext {
        let path = std::iter::once(EXT.to_owned())
            .chain(node.path.iter().cloned())
            .collect();
        tree.0.push(Node {
            path,
            value: node.value.clone(),
        });
    }
    MoItem::from_nodes(
        ClientUri::root(DMACC_MOID, "").to_string(),
        "DMAcc",
        &tree.0,
        None,
    )
}

/// The nodes of an account, by paths with slashes.
#[derive(Default)]
struct Tree(Vec<Node>);

impl Tree {
    fn text(&mut self, path: &str, text: &str) {
        self.leaf(path, Value::Chr(text.to_owned()));
    }

    fn bytes(&mut self, path: &str, bytes: &[u8]) {
        self.leaf(path, Value::Bin(bytes.to_owned()));
    }

    fn leaf(&mut self, path: &str, value: Value) {
        let path = path.split('/').map(str::to_owned).collect();
        self.0.push(Node {
            path,
            value: Some(value),
        });
    }
}
