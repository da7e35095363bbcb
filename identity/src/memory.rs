//! What holds secrets in memory leaves no copy of it behind.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior,
    setrlimit,
};

/// Turns core dumps of this process off for good, and keeps other processes of the same user from
/// reading its memory. To be called first in `main`, before any secret is read.
///
/// # Errors
/// What the system said, where it did not take effect: then no secret may be read.
pub fn keep_private() -> io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    if is_private()? { Ok(()) } else { Err(io::Error::other("core dumps could not be turned off")) }
}

fn is_private() -> io::Result<bool> {
    let none = getrlimit(Resource::Core).maximum == Some(0);
    Ok(none && dumpable_behavior()? == DumpableBehavior::NotDumpable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_effect_and_may_be_called_again() {
        keep_private().unwrap();
        keep_private().unwrap();
        assert!(is_private().unwrap());
        let raised = Rlimit { current: Some(0), maximum: Some(0) };
        assert_eq!(getrlimit(Resource::Core), raised);
    }
}
