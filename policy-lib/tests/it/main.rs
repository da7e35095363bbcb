//! Integration tests of the crate, one module each.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod cases_schema;
#[cfg(test)]
mod check_corpus;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod delegation;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod shadow;
