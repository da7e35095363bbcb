//! The contract, held by golden vectors, the published schemas and generated calls.

#[cfg(test)]
mod generate;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod wire;
