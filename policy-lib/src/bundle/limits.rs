//! How large a bundle may be.

/// Largest archive, in bytes.
pub(crate) const ARCHIVE_BYTES_MAX: usize = 128 << 20;
/// Largest single file, in bytes.
pub(crate) const FILE_BYTES_MAX: usize = 64 << 20;
/// Largest sum of all files, in bytes.
pub(crate) const TOTAL_BYTES_MAX: usize = 128 << 20;
/// Most tar headers in an archive, and most files in a bundle.
pub(crate) const ENTRIES_MAX: usize = 10_000;
/// Largest expansion: decompressed bytes for one compressed byte.
pub(crate) const RATIO_MAX: usize = 100;
/// Decompressed bytes below which the ratio is not looked at: a small
/// archive is mostly tar padding and compresses very well.
pub(crate) const RATIO_FREE_BYTES: usize = 1 << 20;

/// Bounds that hold while an archive or a folder is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest archive, in bytes.
    pub archive_bytes: usize,
    /// Largest single file, in bytes.
    pub file_bytes: usize,
    /// Largest sum of all files, in bytes.
    pub total_bytes: usize,
    /// Most tar headers (folders and extended headers count) and most files.
    pub entries: usize,
    /// Largest number of decompressed bytes for one compressed byte.
    pub ratio: usize,
    /// Decompressed bytes below which the ratio is not looked at.
    pub ratio_free_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            archive_bytes: ARCHIVE_BYTES_MAX,
            file_bytes: FILE_BYTES_MAX,
            total_bytes: TOTAL_BYTES_MAX,
            entries: ENTRIES_MAX,
            ratio: RATIO_MAX,
            ratio_free_bytes: RATIO_FREE_BYTES,
        }
    }
}
