//! HTTP header fields that DM 2.0 adds (OMA DM 2.0 §5.1.4, §5.2).

/// On every POST of Package#1 and #3: the device, as in `DevInfo/DevID`, such as `IMEI:493005100592800`.
pub const HEADER_DEV_ID: &str = "OMADM-DevID";

/// From a server or repository: media types it accepts in later PUT and POST bodies; same grammar as `Accept`.
// choice: spelt with a hyphen, like OMADM-DevID.
pub const HEADER_ACCEPT: &str = "OMADM-Accept";
