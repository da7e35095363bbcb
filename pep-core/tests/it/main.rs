//! The client for the decision point and the five stages, against a gRPC server on real sockets;
//! the front door with certificates; callers who must not be believed.

#[cfg(test)]
mod approval;
#[cfg(test)]
mod client;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod listen;
#[cfg(test)]
mod pdp;
#[cfg(test)]
mod pep;
#[cfg(test)]
mod points;
#[cfg(test)]
mod remembered;
#[cfg(test)]
#[path = "../../../identity/tests/it/hostile/table.rs"]
mod table;
