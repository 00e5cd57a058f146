//! The harness: what the behaviour tests of this package share.
