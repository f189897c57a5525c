//! Who is asking, and what is asked about: the two names that every room shares.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who is asking: a Management Authority with an account on this device, or a local application.
///
/// The text form is the `SrvID` of the account, or `local:<name>`. It is made in two places only:
/// `certificates`, from a verified server, and `local`, from a verified peer of a socket.
///
/// No `SrvID` can name a local application: one that starts like that (or with `server:`) is written
/// `server:<SrvID>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Authority(String);

impl Authority {
    /// The authority whose account has this `SrvID`.
    pub fn server(srv_id: &str) -> Self {
        if srv_id.starts_with("local:") || srv_id.starts_with("server:") {
            return Self(format!("server:{srv_id}"));
        }
        Self(srv_id.to_owned())
    }

    /// A local application.
    pub fn local(name: &str) -> Self {
        Self(format!("local:{name}"))
    }

    /// The device itself: owner of what plug-ins bring along, and on whose behalf transports and
    /// environments run.
    pub fn device() -> Self {
        Self::local("device")
    }

    /// The operator at the admin socket.
    pub fn operator() -> Self {
        Self::local("operator")
    }

    /// Whether this is a local application rather than a Management Authority.
    pub fn is_local(&self) -> bool {
        self.0.starts_with("local:")
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One MO instance: the unit that has an owner and that rights are attached to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// Management Object type, e.g. `urn:oma:mo:oma-dm-devinfo:1.2`.
    pub moid: String,
    /// Which instance of that type.
    pub miid: String,
}

impl Instance {
    /// The instance `miid` of `moid`.
    pub fn new(moid: impl Into<String>, miid: impl Into<String>) -> Self {
        Self {
            moid: moid.into(),
            miid: miid.into(),
        }
    }

    /// A new name for an instance of `moid`: nine random digits. `None`: the system gives no random bytes.
    ///
    /// choice: OMA DM 2.0 leaves the MIID to the client. Names that are counted through would tell an authority how
    /// many instances the others have.
    pub fn at_random(moid: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        aws_lc_rs::rand::fill(&mut bytes).ok()?;
        let number = 100_000_000 + u64::from_be_bytes(bytes) % 900_000_000;
        Some(Self::new(moid, number.to_string()))
    }
}

impl fmt::Display for Instance {
    /// As a ClientURI of the root of the instance.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/", self.moid, self.miid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_server_identifier_is_taken_for_a_local_application() {
        for srv_id in [
            "local:operator",
            "local:device",
            "local:",
            "server:local:operator",
        ] {
            let server = Authority::server(srv_id);
            assert!(!server.is_local(), "{server}");
            assert_ne!(server, Authority::operator());
        }
        assert_ne!(
            Authority::server("local:a"),
            Authority::server("server:local:a")
        );
        assert_eq!(
            Authority::server("https://ma.example").as_str(),
            "https://ma.example"
        );
        assert!(Authority::local("app").is_local());
    }

    #[test]
    fn new_names_are_nine_digits_and_not_in_order() {
        let names: Vec<String> = (0..32)
            .map(|_| Instance::at_random("urn:oma:mo:a:1.0").unwrap().miid)
            .collect();
        assert!(
            names
                .iter()
                .all(|name| name.len() == 9 && name.bytes().all(|byte| byte.is_ascii_digit()))
        );
        assert!(!names.is_sorted());
    }
}
