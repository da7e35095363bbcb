//! How the command ends: every exit code, and the error that carries one.

use std::fmt::Display;
use std::process::ExitCode;

/// The exit codes, each with one meaning. Tests and scripts rely on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Yes, allowed, done.
    Ok = 0,
    /// The command could not be run to its end; it says nothing about what was asked.
    Failed = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// `decide`: the call is denied.
    Denied = 3,
    /// `decide`: a person must agree first.
    Ask = 4,
    /// The bundle does not load.
    PolicyInvalid = 5,
    /// `test`: at least one test failed. `fmt --check`: a file is not formatted. `schema drift`:
    /// a tool is not what was pinned.
    TestsFailed = 6,
    /// A signature, a hash chain or a bundle's version or time is not acceptable.
    Broken = 7,
    /// `replay`: recorded calls would be decided otherwise.
    Flips = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends without an answer of its own.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    /// What went wrong and where; empty if there is nothing to say.
    message: String,
    /// How to mend it; may be empty.
    help: String,
}

impl Failure {
    /// A failure with an exit code.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), help: String::new() }
    }

    /// The command could not be run.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// The command could not be run because of `error`, causes included.
    pub(crate) fn error(error: &dyn std::error::Error) -> Self {
        Self::failed(chain(error))
    }

    /// The reader of standard output went away, which is not our failure.
    pub(crate) fn quiet() -> Self {
        Self::new(Exit::Ok, "")
    }

    /// The same with what to do about it.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = help.into();
        self
    }

    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What standard error says, without a last newline; empty if nothing.
    pub(crate) fn text(&self) -> String {
        if self.message.is_empty() {
            return String::new();
        }
        let mut text = format!("error: {}", self.message);
        if !self.help.is_empty() {
            text.push_str("\n  help: ");
            text.push_str(&self.help);
        }
        text
    }
}

/// An error and its causes in one line. A cause that its error repeats is left out.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    text
}

/// `cannot read PATH: cause`
pub(crate) fn io(action: &str, path: &std::path::Path, cause: impl Display) -> Failure {
    Failure::failed(format!("cannot {action} `{}`: {cause}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_and_how_to_mend_it() {
        let failure = Failure::usage("two bundles").help("give one");
        assert_eq!(failure.text(), "error: two bundles\n  help: give one");
        assert_eq!(failure.exit(), Exit::Usage);
        assert_eq!(Failure::quiet().text(), "");
    }

    #[test]
    fn causes_are_said_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Inner);
        #[derive(Debug, thiserror::Error)]
        #[error("inner")]
        struct Inner;
        assert_eq!(chain(&Outer(Inner)), "outer: inner");
        #[derive(Debug, thiserror::Error)]
        #[error("outer: inner")]
        struct Repeats(#[source] Inner);
        assert_eq!(chain(&Repeats(Inner)), "outer: inner");
    }

    #[test]
    fn codes_are_those_of_the_contract() {
        let all = [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::Denied,
            Exit::Ask,
            Exit::PolicyInvalid,
            Exit::TestsFailed,
            Exit::Broken,
            Exit::Flips,
        ];
        assert_eq!(all.map(|exit| exit as u8), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
