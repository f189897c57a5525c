//! Session Information (OMA DM 2.0, `urn:oma:mo:oma-sessioninfomo:1.0`): what the session of the asking
//! authority runs over.

use bailiwick_plugin::session::{self, Bearer};
use bailiwick_plugin::{ManagementObject, Node, NodeRef, ReadOptions, Result, Tree};

/// The object.
#[derive(Default)]
pub struct SessionInfo;

impl ManagementObject for SessionInfo {
    fn read(&mut self, target: &NodeRef, options: ReadOptions) -> Result<Vec<Node>> {
        Tree::new()
            .leaf("CBT", bearer_code(session::current_bearer()))
            .leaf("ROAMING", ROAMING_UNKNOWN)
            .subtree(&target.path, options)
    }
}

bailiwick_plugin::export!(object SessionInfo);

/// choice: the official DDF, which names the values, is not at hand. These are the codes of PREFERRED-CON-TYPE
/// in a notification.
fn bearer_code(bearer: Option<Bearer>) -> i64 {
    match bearer {
        None | Some(Bearer::Unknown) => 0,
        Some(Bearer::Cellular) => 1,
        Some(Bearer::Wlan) => 2,
        Some(Bearer::Wireline) => 3,
    }
}

/// choice: 0 unknown, 1 roaming, 2 not roaming. No import tells whether the device roams, so it stays unknown.
const ROAMING_UNKNOWN: i64 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use bailiwick_plugin::Error;
    use bailiwick_plugin::testing::Harness;

    const MOID: &str = "urn:oma:mo:oma-sessioninfomo:1.0";

    #[test]
    fn shows_the_bearer_of_the_session() {
        let harness = Harness::new();
        let mut object = harness.object::<SessionInfo>();
        for (bearer, code) in [
            (None, 0),
            (Some(Bearer::Unknown), 0),
            (Some(Bearer::Cellular), 1),
            (Some(Bearer::Wlan), 2),
            (Some(Bearer::Wireline), 3),
        ] {
            harness.set_bearer(bearer);
            assert_eq!(
                object.read(MOID, "1", "CBT"),
                Ok(vec![Node::leaf(&[], code)])
            );
        }
    }

    #[test]
    fn has_two_leaves_below_the_root() {
        let mut object = Harness::new().object::<SessionInfo>();
        assert_eq!(
            object.read(MOID, "1", ""),
            Ok(vec![
                Node::interior(&[]),
                Node::leaf(&["CBT"], 0),
                Node::leaf(&["ROAMING"], 0)
            ])
        );
        assert_eq!(object.read(MOID, "1", "CBT/x"), Err(Error::NotFound));
        object.assert_follows(include_str!("../object.ddf"), MOID, "1");
    }
}
