//! An AWS account in a process, for the demo and the tests.
