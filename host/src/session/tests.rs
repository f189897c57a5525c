//! Whole sessions against a server of the tests.
