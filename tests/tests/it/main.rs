//! The whole of Lictor from outside.
fn main() {}
