//! Compiles `proto/lictor/v1/*.proto` with protox, so that nobody needs protoc.

use std::error::Error;
use std::path::PathBuf;

use protox::prost::Message as _;

const FILES: [&str; 7] = [
    "lictor/v1/call.proto",
    "lictor/v1/decision.proto",
    "lictor/v1/approval.proto",
    "lictor/v1/catalog.proto",
    "lictor/v1/limits.proto",
    "lictor/v1/revocation.proto",
    "lictor/v1/status.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), set.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(set)?;
    Ok(())
}
