//! The client for the decision point and the five stages, against a gRPC server on real sockets.

#[cfg(test)]
mod client;
#[cfg(test)]
mod pdp;
#[cfg(test)]
mod pep;
