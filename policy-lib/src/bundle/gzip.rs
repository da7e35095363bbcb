//! The gzip layer: bounded reading, and writing that no compressor decides.

use std::io::{ErrorKind, Read as _};

use flate2::Crc;
use flate2::bufread::GzDecoder;

use super::error::ArchiveError;
use super::limits::Limits;

const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Magic, deflate, no flags, no time, no extra flags, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Largest stored block that deflate allows, in bytes.
const STORED_BLOCK_BYTES_MAX: usize = 0xffff;
/// Bytes decompressed at a time.
const CHUNK_BYTES: usize = 32 << 10;
/// Tar's own bytes for one file: header and padding.
const TAR_OVERHEAD_BYTES: usize = 1024;
/// Bytes of zero blocks that a writer may put at the end of a tar archive.
const TAR_END_BYTES: usize = 64 << 10;

/// The one gzip member in `archive`, decompressed. The bounds hold while it
/// is read, so a bomb costs no more memory than a full bundle.
pub(crate) fn gunzip(archive: &[u8], limits: &Limits) -> Result<Vec<u8>, ArchiveError> {
    if archive.len() > limits.archive_bytes {
        return Err(ArchiveError::ArchiveTooLarge {
            bytes: archive.len(),
            max: limits.archive_bytes,
        });
    }
    if !archive.starts_with(&MAGIC) {
        return Err(ArchiveError::NotGzip);
    }
    let mut decoder = GzDecoder::new(archive);
    let mut out = Vec::new();
    let mut chunk = vec![0_u8; CHUNK_BYTES];
    loop {
        let count = match decoder.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(decode_error(&error)),
        };
        out.extend_from_slice(chunk.get(..count).unwrap_or_default());
        check_size(out.len(), archive.len(), limits)?;
    }
    let rest = decoder.into_inner();
    if rest.starts_with(&MAGIC) {
        return Err(ArchiveError::GzipMembers);
    }
    if !rest.is_empty() {
        return Err(ArchiveError::GzipTrailing { bytes: rest.len() });
    }
    Ok(out)
}

fn check_size(out: usize, archive: usize, limits: &Limits) -> Result<(), ArchiveError> {
    let by_ratio = archive.saturating_mul(limits.ratio);
    if out > by_ratio.max(limits.ratio_free_bytes) {
        return Err(ArchiveError::Ratio { max: limits.ratio });
    }
    let overhead = limits.entries.saturating_mul(TAR_OVERHEAD_BYTES);
    let largest = limits.total_bytes.saturating_add(overhead);
    if out > largest.saturating_add(TAR_END_BYTES) {
        return Err(ArchiveError::TotalTooLarge { max: limits.total_bytes });
    }
    Ok(())
}

fn decode_error(error: &std::io::Error) -> ArchiveError {
    if error.kind() == ErrorKind::UnexpectedEof {
        return ArchiveError::Truncated;
    }
    ArchiveError::Corrupt { what: error.to_string() }
}

/// `data` as one gzip member of stored blocks.
///
/// Stored, not compressed: the bytes, and with them every digest, then depend
/// on this function alone and not on the version of a compressor, and a
/// signed archive has exactly one form that its reader can demand.
pub(crate) fn store(data: &[u8]) -> Vec<u8> {
    let blocks = data.len() / STORED_BLOCK_BYTES_MAX + 1;
    let mut out = Vec::with_capacity(data.len() + blocks * 5 + HEADER.len() + 8);
    out.extend(HEADER);
    let mut rest = data;
    loop {
        let (block, tail) = rest.split_at(rest.len().min(STORED_BLOCK_BYTES_MAX));
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(tail.is_empty()));
        out.extend(length.to_le_bytes());
        out.extend((!length).to_le_bytes());
        out.extend(block);
        if tail.is_empty() {
            break;
        }
        rest = tail;
    }
    let mut crc = Crc::new();
    crc.update(data);
    out.extend(crc.sum().to_le_bytes());
    out.extend(crc.amount().to_le_bytes());
    out
}
