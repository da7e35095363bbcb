//! Writing a `.tar.gz`: the same files always give the same bytes.

use tar::{EntryType, Header};

use super::files::Files;
use super::gzip;
use super::name;

const BLOCK_BYTES: usize = 512;
const END_BLOCKS: usize = 2;
/// Offset of the prefix field in a POSIX tar header, in bytes.
const PREFIX_OFFSET: usize = 345;
/// What every file may be read by and nobody execute.
const FILE_MODE: u32 = 0o644;

/// The files as a `.tar.gz`: `.manifest`, `.signatures.json`, then the others
/// in byte order of their names, with fixed headers and no times. The gzip
/// layer stores without compressing, so no compressor's version can change
/// the bytes.
pub fn pack(files: &Files) -> Vec<u8> {
    let mut tar = Vec::new();
    for first in [name::MANIFEST, name::SIGNATURES] {
        if let Some(bytes) = files.get(first) {
            append(&mut tar, first, bytes);
        }
    }
    for (entry, bytes) in files.iter() {
        if entry != name::MANIFEST && entry != name::SIGNATURES {
            append(&mut tar, entry, bytes);
        }
    }
    tar.resize(tar.len() + END_BLOCKS * BLOCK_BYTES, 0);
    gzip::store(&tar)
}

fn append(tar: &mut Vec<u8>, entry: &str, bytes: &[u8]) {
    tar.extend(header(entry, bytes.len()).as_bytes());
    tar.extend(bytes);
    tar.resize(tar.len().next_multiple_of(BLOCK_BYTES), 0);
}

fn header(entry: &str, length: usize) -> Header {
    // Every name of `Files` fits: the name rules refuse one that does not.
    let (prefix, rest) = name::tar_split(entry).unwrap_or(("", entry));
    let mut header = Header::new_ustar();
    let block = header.as_mut_bytes();
    for (to, from) in block.iter_mut().zip(rest.bytes().take(name::TAR_NAME_BYTES)) {
        *to = from;
    }
    for (to, from) in block.iter_mut().skip(PREFIX_OFFSET).zip(prefix.bytes()) {
        *to = from;
    }
    header.set_entry_type(EntryType::Regular);
    header.set_size(length as u64);
    header.set_mode(FILE_MODE);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    header
}
