//! DM Account (OMA DM 2.0, `urn:oma:mo:oma-dm-dmacc:1.2`): the accounts that the host keeps, for their
//! authorities to see.
//!
//! Read-only, and only what may be shown: `Perm` and every secret stay in the host, which gives this
//! plug-in neither. An authority sees its own account because the host lists no other.

use bailiwick_plugin::accounts::{self, Account};
use bailiwick_plugin::{Error, ManagementObject, Node, NodeRef, ReadOptions, Result, Tree};

/// The object; an instance is an account.
#[derive(Default)]
pub struct DmAccount;

impl ManagementObject for DmAccount {
    fn instances(&mut self, _mo: &str) -> Result<Vec<String>> {
        Ok(accounts::list()?
            .into_iter()
            .map(|account| account.instance)
            .collect())
    }

    fn read(&mut self, target: &NodeRef, options: ReadOptions) -> Result<Vec<Node>> {
        let mut known = accounts::list()?.into_iter();
        let account = known.find(|account| account.instance == target.instance);
        tree(account.ok_or(Error::NotFound)?).subtree(&target.path, options)
    }
}

bailiwick_plugin::export!(object DmAccount);

fn tree(account: Account) -> Tree {
    Tree::new()
        .leaf("SrvID", account.srv_id)
        .leaf("SrvURI", account.srv_uri)
        .leaf("Name", account.name)
        .optional("Auth/Trsp/Data", account.client_certificate)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bailiwick_plugin::Change;
    use bailiwick_plugin::testing::Harness;

    const MOID: &str = "urn:oma:mo:oma-dm-dmacc:1.2";

    fn account(instance: &str, client_certificate: Option<Vec<u8>>) -> Account {
        Account {
            instance: instance.into(),
            srv_id: format!("server-{instance}"),
            srv_uri: "https://dm.example/".into(),
            name: "Operations".into(),
            client_certificate,
        }
    }

    fn pairs<const N: usize>(expected: [(&str, &str); N]) -> [(String, String); N] {
        expected.map(|(path, value)| (path.into(), value.into()))
    }

    #[test]
    fn an_instance_is_an_account() {
        let harness = Harness::new();
        harness.add_account(account("1", None));
        harness.add_account(account("7", Some(vec![0x30, 0x82])));
        let mut object = harness.object::<DmAccount>();
        assert_eq!(object.instances(MOID), Ok(vec!["1".into(), "7".into()]));
        let shown = [
            ("SrvID", "server-1"),
            ("SrvURI", "https://dm.example/"),
            ("Name", "Operations"),
        ];
        assert_eq!(object.values(MOID, "1"), pairs(shown));
        let certificate = ("Auth/Trsp/Data", "[30, 82]");
        let shown = [("SrvID", "server-7"), shown[1], shown[2], certificate];
        assert_eq!(object.values(MOID, "7"), pairs(shown));
        object.assert_follows(include_str!("../object.ddf"), MOID, "1");
        object.assert_follows(include_str!("../object.ddf"), MOID, "7");
    }

    #[test]
    fn what_the_host_does_not_list_does_not_exist() {
        let harness = Harness::new();
        harness.add_account(account("1", None));
        let mut object = harness.object::<DmAccount>();
        assert_eq!(object.read(MOID, "2", ""), Err(Error::NotFound));
        for hidden in ["Perm", "Auth", "Auth/Trsp/Secret", "Auth/Noti/Secret"] {
            assert_eq!(
                object.read(MOID, "1", hidden),
                Err(Error::NotFound),
                "{hidden}"
            );
        }
    }

    #[test]
    fn is_read_only() {
        let harness = Harness::new();
        harness.add_account(account("1", None));
        let mut object = harness.object::<DmAccount>();
        let change = Change::Put(Node::leaf(&["SrvURI"], "https://elsewhere.example/"));
        assert_eq!(
            object.apply(MOID, "1", vec![change]),
            Err(Error::NotSupported)
        );
        assert_eq!(
            object.create(MOID, "2", Vec::new()),
            Err(Error::NotSupported)
        );
        assert_eq!(object.delete(MOID, "1"), Err(Error::NotSupported));
    }
}
