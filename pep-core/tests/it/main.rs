//! The client for the decision point, against a gRPC server on real sockets.

#[cfg(test)]
mod client;
#[cfg(test)]
mod pdp;
