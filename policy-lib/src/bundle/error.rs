//! Why an archive or a folder was refused.

use super::name::NameError;

/// Why an archive or a folder was refused before anything in it was parsed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes do not begin as gzip does.
    #[error("not a gzip file: give a `.tar.gz`")]
    NotGzip,
    /// The stream ends early.
    #[error("the archive ends too early: fetch it again")]
    Truncated,
    /// The stream does not decompress, or its checksum is wrong.
    #[error("the archive is damaged: {what}")]
    Corrupt {
        /// What is wrong.
        what: String,
    },
    /// A second gzip member follows the first.
    #[error("the archive is several gzip files in a row: pack it as one")]
    GzipMembers,
    /// Bytes follow the end of the gzip stream.
    #[error("{bytes} bytes follow the end of the gzip stream: remove them")]
    GzipTrailing {
        /// How many bytes follow.
        bytes: usize,
    },
    /// Bytes other than zero follow the tar end-of-archive blocks.
    #[error("data follows the end of the tar archive: pack it again")]
    TarTrailing,
    /// The padding of a tar block is not zero.
    #[error("entry `{name}` has data in its padding: pack it again")]
    Padding {
        /// The entry.
        name: String,
    },
    /// A tar header does not parse or its checksum is wrong.
    #[error("the tar header at byte {at} is damaged: {what}")]
    Header {
        /// Offset in the decompressed stream, in bytes.
        at: usize,
        /// What is wrong.
        what: String,
    },
    /// The archive is too large.
    #[error("the archive has {bytes} bytes, {max} are allowed")]
    ArchiveTooLarge {
        /// Its size, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        max: usize,
    },
    /// A file is too large.
    #[error("file `{name}` has {bytes} bytes, {max} are allowed")]
    FileTooLarge {
        /// The entry.
        name: String,
        /// Its size, in bytes.
        bytes: u64,
        /// The limit, in bytes.
        max: usize,
    },
    /// The files together are too large.
    #[error("the files of the bundle have more than {max} bytes together")]
    TotalTooLarge {
        /// The limit, in bytes.
        max: usize,
    },
    /// There are too many entries.
    #[error("the bundle has more than {max} entries")]
    TooManyEntries {
        /// The limit.
        max: usize,
    },
    /// The archive decompresses to too many bytes for its size.
    #[error("the archive expands more than {max} times: pack it without compression")]
    Ratio {
        /// The limit.
        max: usize,
    },
    /// The entry is a symbolic or hard link.
    #[error("entry `{name}` is a link: put the file itself in its place")]
    Link {
        /// The entry.
        name: String,
    },
    /// The entry is a device.
    #[error("entry `{name}` is a device: remove it")]
    Device {
        /// The entry.
        name: String,
    },
    /// The entry is a named pipe.
    #[error("entry `{name}` is a named pipe: remove it")]
    Fifo {
        /// The entry.
        name: String,
    },
    /// The entry is a sparse file.
    #[error("entry `{name}` is a sparse file: pack it in full")]
    Sparse {
        /// The entry.
        name: String,
    },
    /// The entry is a GNU long name or long link.
    #[error("entry `{name}` is a GNU long-name header: use shorter names")]
    LongName {
        /// The entry.
        name: String,
    },
    /// The extended header changes what the entry is, or is malformed.
    #[error("extended header `{name}` sets `{key}`: pack without it")]
    Pax {
        /// The entry.
        name: String,
        /// The record's key, or what is wrong with the header.
        key: String,
    },
    /// The entry has a type that bundles do not have.
    #[error("entry `{name}` has the unknown type {code}: pack plain files only")]
    EntryType {
        /// The entry.
        name: String,
        /// The type byte of the tar header.
        code: u8,
    },
    /// The entry is a folder that carries data.
    #[error("folder entry `{name}` carries data: remove it")]
    DirectoryData {
        /// The entry.
        name: String,
    },
    /// The name is refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Two entries have the same name.
    #[error("entry `{name}` appears twice: remove one")]
    Duplicate {
        /// The entry.
        name: String,
    },
    /// Two names differ only in the case of their letters.
    #[error("entries `{name}` and `{other}` differ only in case: rename one")]
    CaseDuplicate {
        /// The entry.
        name: String,
        /// The earlier entry.
        other: String,
    },
    /// The file has no place in a bundle.
    #[error(
        "file `{name}` has no place in a bundle: keep `rego/<unit>/*.rego`, `cedar/<unit>.cedar`, `data.json`, `cases/*.yaml`, `README.md`"
    )]
    ExtraFile {
        /// The entry.
        name: String,
    },
    /// The archive is a delta bundle.
    #[error("`patch.json` makes this a delta bundle, which cannot be verified: give a full one")]
    Delta,
}

impl ArchiveError {
    /// The stable id of this refusal.
    pub fn id(&self) -> &'static str {
        match self {
            Self::NotGzip => "bundle_not_gzip",
            Self::Truncated => "bundle_truncated",
            Self::Corrupt { .. } => "bundle_corrupt",
            Self::GzipMembers => "bundle_gzip_members",
            Self::GzipTrailing { .. } => "bundle_gzip_trailing",
            Self::TarTrailing => "bundle_tar_trailing",
            Self::Padding { .. } => "bundle_padding",
            Self::Header { .. } => "bundle_header",
            Self::ArchiveTooLarge { .. } => "bundle_archive_too_large",
            Self::FileTooLarge { .. } => "bundle_file_too_large",
            Self::TotalTooLarge { .. } => "bundle_total_too_large",
            Self::TooManyEntries { .. } => "bundle_too_many_entries",
            Self::Ratio { .. } => "bundle_ratio",
            Self::Link { .. } => "bundle_link",
            Self::Device { .. } => "bundle_device",
            Self::Fifo { .. } => "bundle_fifo",
            Self::Sparse { .. } => "bundle_sparse",
            Self::LongName { .. } => "bundle_long_name",
            Self::Pax { .. } => "bundle_pax",
            Self::EntryType { .. } => "bundle_entry_type",
            Self::DirectoryData { .. } => "bundle_directory_data",
            Self::Name(error) => error.id(),
            Self::Duplicate { .. } => "bundle_duplicate",
            Self::CaseDuplicate { .. } => "bundle_case_duplicate",
            Self::ExtraFile { .. } => "bundle_extra_file",
            Self::Delta => "bundle_delta",
        }
    }
}
