//! Integration tests of the crate, one module each.

#[cfg(test)]
mod decisions;
#[cfg(test)]
mod delegation;
