//! The rules of addressing and access, through the door, against a plug-in of the tests.
