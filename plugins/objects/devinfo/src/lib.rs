//! DevInfo (OMA DM 2.0, `urn:oma:mo:oma-dm-devinfo:1.2`): who the device is.
//!
//! Every read asks the environment; nothing is copied, so nothing can be stale.

use bailiwick_plugin::{ManagementObject, Node, NodeRef, ReadOptions, Result, Tree, device};

/// `DevInfo/DmV`: the protocol that the host speaks.
const DM_VERSION: &str = "2.0";

/// The object.
#[derive(Default)]
pub struct DevInfo;

impl ManagementObject for DevInfo {
    fn read(&mut self, target: &NodeRef, options: ReadOptions) -> Result<Vec<Node>> {
        let device = device::identity()?;
        Tree::new()
            .leaf("DevID", device.device_id)
            .leaf("Man", device.manufacturer)
            .leaf("Mod", device.model)
            .leaf("DmV", DM_VERSION)
            .leaf("Lang", device.language)
            .leaf("DevType", device.device_type)
            .leaf("OEM", device.oem)
            .leaf("FwV", device.firmware_version)
            .leaf("SwV", device.software_version)
            .leaf("HwV", device.hardware_version)
            .interior("Ext")
            .subtree(&target.path, options)
    }
}

bailiwick_plugin::export!(object DevInfo);

#[cfg(test)]
mod tests {
    use super::*;
    use bailiwick_plugin::testing::Harness;
    use bailiwick_plugin::{Change, Error, Identity};

    const MOID: &str = "urn:oma:mo:oma-dm-devinfo:1.2";

    fn identity() -> Identity {
        Identity {
            device_id: "IMEI:493005100592800".into(),
            manufacturer: "Examplar".into(),
            model: "E-1".into(),
            device_type: "gateway".into(),
            hardware_version: "rev B".into(),
            firmware_version: "1.7".into(),
            software_version: "Debian GNU/Linux 12".into(),
            language: "en-GB".into(),
            oem: String::new(),
        }
    }

    #[test]
    fn shows_every_node_of_the_specification() {
        let harness = Harness::new();
        harness.set_identity(Ok(identity()));
        let mut devinfo = harness.object::<DevInfo>();
        assert_eq!(devinfo.instances(MOID), Ok(vec!["1".to_string()]));
        let expected = [
            ("DevID", "IMEI:493005100592800"),
            ("Man", "Examplar"),
            ("Mod", "E-1"),
            ("DmV", "2.0"),
            ("Lang", "en-GB"),
            ("DevType", "gateway"),
            ("OEM", ""),
            ("FwV", "1.7"),
            ("SwV", "Debian GNU/Linux 12"),
            ("HwV", "rev B"),
            ("Ext/", ""),
        ];
        let expected = expected.map(|(path, value)| (path.to_string(), value.to_string()));
        assert_eq!(devinfo.values(MOID, "1"), expected);
        devinfo.assert_follows(include_str!("../object.ddf"), MOID, "1");
    }

    #[test]
    fn follows_the_environment() {
        let harness = Harness::new();
        harness.set_identity(Ok(identity()));
        let mut devinfo = harness.object::<DevInfo>();
        harness.set_identity(Ok(Identity {
            language: "de-CH".into(),
            ..identity()
        }));
        assert_eq!(
            devinfo.read(MOID, "1", "Lang"),
            Ok(vec![Node::leaf(&[], "de-CH")])
        );
        harness.set_identity(Err(Error::unavailable("the environment restarts")));
        assert_eq!(
            devinfo.read(MOID, "1", "Lang"),
            Err(Error::unavailable("the environment restarts"))
        );
    }

    #[test]
    fn nothing_else_is_there_and_nothing_can_be_changed() {
        let harness = Harness::new();
        harness.set_identity(Ok(identity()));
        let mut devinfo = harness.object::<DevInfo>();
        assert_eq!(devinfo.read(MOID, "1", "DevId"), Err(Error::NotFound));
        let change = Change::Put(Node::leaf(&["Lang"], "fr"));
        assert_eq!(
            devinfo.apply(MOID, "1", vec![change]),
            Err(Error::NotSupported)
        );
        assert_eq!(devinfo.delete(MOID, "1"), Err(Error::NotSupported));
    }
}
