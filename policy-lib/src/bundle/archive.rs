//! Reading a `.tar.gz`: every byte of the tar stream is accounted for.

use tar::{EntryType, Header, PaxExtensions};

use super::error::ArchiveError;
use super::files::{AnyFiles, Collector, Files};
use super::gzip;
use super::limits::Limits;
use super::name;

/// Bytes of a tar block.
const BLOCK_BYTES: usize = 512;
/// Zero blocks that end an archive.
const END_BLOCKS: usize = 2;
/// Offset and length of the prefix field in a POSIX tar header, in bytes.
const PREFIX_FIELD: std::ops::Range<usize> = 345..345 + name::TAR_PREFIX_BYTES;
/// Offset of the checksum field, in bytes.
const CHECKSUM_FIELD: std::ops::Range<usize> = 148..156;
/// Largest extended header, in bytes.
const PAX_BYTES_MAX: usize = 4096;
/// Extended-header records that change nothing that a bundle keeps.
const HARMLESS_PAX_KEYS: [&str; 7] = ["mtime", "atime", "ctime", "uid", "gid", "uname", "gname"];

/// The files of the gzip-compressed tar archive in `archive`.
///
/// # Errors
/// The first entry, limit or byte that a bundle may not have.
pub fn read_archive(archive: &[u8], limits: &Limits) -> Result<Files, ArchiveError> {
    collect(archive, limits, Collector::new(*limits)).map(Collector::finish)
}

/// The same of an archive whose entries may have any place.
///
/// # Errors
/// The first entry, limit or byte that no archive may have.
pub(crate) fn read_any_archive(archive: &[u8], limits: &Limits) -> Result<AnyFiles, ArchiveError> {
    collect(archive, limits, Collector::any(*limits)).map(Collector::finish_any)
}

fn collect(
    archive: &[u8],
    limits: &Limits,
    mut collector: Collector,
) -> Result<Collector, ArchiveError> {
    let stream = gzip::gunzip(archive, limits)?;
    let mut tape = Tape { bytes: &stream, at: 0 };
    let mut overrides = Overrides::default();
    let mut headers = 0_usize;
    while let Some(entry) = tape.next(limits)? {
        headers += 1;
        if headers > limits.entries {
            return Err(ArchiveError::TooManyEntries { max: limits.entries });
        }
        if entry.header.entry_type() == EntryType::XHeader {
            overrides.add(&entry)?;
            continue;
        }
        overrides.agree_with(&entry)?;
        keep(&entry, &mut collector)?;
        overrides = Overrides::default();
    }
    if overrides.records > 0 {
        return Err(ArchiveError::Truncated);
    }
    tape.finish()?;
    Ok(collector)
}

/// Adds a plain file, passes over a folder, refuses everything else.
fn keep(entry: &Entry<'_>, collector: &mut Collector) -> Result<(), ArchiveError> {
    let name = name::shown(&entry.raw_name);
    match entry.header.entry_type() {
        EntryType::Regular => collector.add(&entry.raw_name, entry.data.into()),
        EntryType::Directory => check_folder(entry, collector),
        EntryType::Link | EntryType::Symlink => Err(ArchiveError::Link { name }),
        EntryType::Char | EntryType::Block => Err(ArchiveError::Device { name }),
        EntryType::Fifo => Err(ArchiveError::Fifo { name }),
        EntryType::GNUSparse => Err(ArchiveError::Sparse { name }),
        EntryType::GNULongName | EntryType::GNULongLink => Err(ArchiveError::LongName { name }),
        EntryType::XGlobalHeader => Err(ArchiveError::Pax { name, key: "global header".into() }),
        other => Err(ArchiveError::EntryType { name, code: other.as_byte() }),
    }
}

fn check_folder(entry: &Entry<'_>, collector: &Collector) -> Result<(), ArchiveError> {
    let raw = entry.raw_name.as_slice();
    // The folder that is packed itself, as `tar` writes it.
    if collector.takes_any() && matches!(raw, b"/" | b"./") {
        return Ok(());
    }
    let name = name::check(raw.strip_suffix(b"/").unwrap_or(raw))?;
    if !entry.data.is_empty() {
        return Err(ArchiveError::DirectoryData { name: name.into() });
    }
    if !collector.takes_any() && !name::is_known_folder(name) {
        return Err(ArchiveError::ExtraFile { name: name.into() });
    }
    Ok(())
}

/// One tar header with the data behind it.
struct Entry<'a> {
    header: Header,
    raw_name: Vec<u8>,
    data: &'a [u8],
}

/// The decompressed stream and how far it was read.
struct Tape<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Tape<'a> {
    /// The next entry, or `None` at the first zero block.
    fn next(&mut self, limits: &Limits) -> Result<Option<Entry<'a>>, ArchiveError> {
        let at = self.at;
        let block = self.take(BLOCK_BYTES)?;
        if block.iter().all(|byte| *byte == 0) {
            self.at = at;
            return Ok(None);
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        check_sum(&header, at)?;
        let raw_name = raw_name(&header)?;
        let size = header
            .entry_size()
            .map_err(|_| ArchiveError::Header { at, what: "its size is not a number".into() })?;
        let length = usize::try_from(size)
            .ok()
            .filter(|length| *length <= limits.file_bytes)
            .ok_or_else(|| ArchiveError::FileTooLarge {
                name: name::shown(&raw_name),
                bytes: size,
                max: limits.file_bytes,
            })?;
        let data = self.take(length)?;
        let padding = self.take(length.next_multiple_of(BLOCK_BYTES) - length)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::Padding { name: name::shown(&raw_name) });
        }
        Ok(Some(Entry { header, raw_name, data }))
    }

    /// Whatever is left must be zero blocks, at least the two that end an
    /// archive.
    fn finish(self) -> Result<(), ArchiveError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.iter().any(|byte| *byte != 0) {
            return Err(ArchiveError::TarTrailing);
        }
        if rest.len() < END_BLOCKS * BLOCK_BYTES || !rest.len().is_multiple_of(BLOCK_BYTES) {
            return Err(ArchiveError::Truncated);
        }
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ArchiveError> {
        let end = self.at.checked_add(length).ok_or(ArchiveError::Truncated)?;
        let part = self.bytes.get(self.at..end).ok_or(ArchiveError::Truncated)?;
        self.at = end;
        Ok(part)
    }
}

fn check_sum(header: &Header, at: usize) -> Result<(), ArchiveError> {
    let sum: u32 = header
        .as_bytes()
        .iter()
        .enumerate()
        .map(|(index, byte)| match CHECKSUM_FIELD.contains(&index) {
            true => u32::from(b' '),
            false => u32::from(*byte),
        })
        .sum();
    match header.cksum() {
        Ok(stated) if stated == sum => Ok(()),
        _ => Err(ArchiveError::Header { at, what: "its checksum is wrong".into() }),
    }
}

/// The name in the header's fields. Bytes after the NUL that ends a field
/// are refused: another reader could take them for part of the name.
fn raw_name(header: &Header) -> Result<Vec<u8>, ArchiveError> {
    let name = field(&header.as_old().name)?;
    let prefix = match header.as_ustar() {
        Some(_) => field(header.as_bytes().get(PREFIX_FIELD).unwrap_or_default())?,
        None => &[],
    };
    if prefix.is_empty() {
        return Ok(name.to_vec());
    }
    Ok([prefix, b"/", name].concat())
}

fn field(bytes: &[u8]) -> Result<&[u8], ArchiveError> {
    let length = bytes.iter().position(|byte| *byte == 0);
    let (text, rest) = bytes.split_at(length.unwrap_or(bytes.len()));
    if rest.iter().any(|byte| *byte != 0) {
        let name = name::shown(bytes);
        return Err(name::NameError::Nul { name }.into());
    }
    Ok(text)
}

/// What an extended header says about the entry that follows it.
#[derive(Default)]
struct Overrides {
    records: usize,
    paths: Vec<Vec<u8>>,
    sizes: Vec<Vec<u8>>,
}

impl Overrides {
    /// Takes the records of one extended header. Only those that change
    /// nothing, and path and size to be compared later, are let through.
    fn add(&mut self, entry: &Entry<'_>) -> Result<(), ArchiveError> {
        let refuse = |key: &str| ArchiveError::Pax {
            name: name::shown(&entry.raw_name),
            key: name::shown(key.as_bytes()),
        };
        // The parser stops at an empty line, so there must be none.
        let empty_line =
            entry.data.starts_with(b"\n") || entry.data.windows(2).any(|w| w == b"\n\n");
        let whole = entry.data.ends_with(b"\n") && !empty_line;
        if !whole || self.records > 0 {
            return Err(refuse("malformed record"));
        }
        if entry.data.len() > PAX_BYTES_MAX {
            return Err(refuse("too many records"));
        }
        for record in PaxExtensions::new(entry.data) {
            let record = record.map_err(|_| refuse("malformed record"))?;
            let key = record.key().map_err(|_| refuse("malformed key"))?;
            let value = record.value_bytes().to_vec();
            self.records += 1;
            match key {
                "path" => self.paths.push(value),
                "size" => self.sizes.push(value),
                key if HARMLESS_PAX_KEYS.contains(&key) => {}
                key => return Err(refuse(key)),
            }
        }
        Ok(())
    }

    /// Refuses an extended header that gives the entry another name or size
    /// than its own header does.
    fn agree_with(&self, entry: &Entry<'_>) -> Result<(), ArchiveError> {
        let refuse =
            |key: &str| ArchiveError::Pax { name: name::shown(&entry.raw_name), key: key.into() };
        if self.paths.iter().any(|path| *path != entry.raw_name) {
            return Err(refuse("path"));
        }
        let size = entry.data.len().to_string();
        if self.sizes.iter().any(|stated| *stated != size.as_bytes()) {
            return Err(refuse("size"));
        }
        Ok(())
    }
}
