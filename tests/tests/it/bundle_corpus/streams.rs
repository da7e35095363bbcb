//! Wrong bytes of the gzip and tar layers: what one reader takes for the end,
//! another reads on from.

use lictor_policy_lib::bundle::pack;

use super::make::{Vector, end, entry, gzip, signed, stream};

pub(super) fn refused() -> Vec<Vector> {
    let good = pack(&signed());
    let whole = end(stream(&signed()));
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let mut padded = whole.clone();
    padded[1023] = 1;
    let mut header = whole.clone();
    header[100] ^= 1;
    let second = [whole.clone(), end(entry("data.json", b'0', b"{}"))].concat();
    let bomb = end([stream(&signed()), entry("cases/x.yaml", b'0', &vec![b' '; 2 << 20])].concat());
    let empty = gzip(b"");
    let split = [gzip(&whole[..512]), gzip(&whole[512..])].concat();
    vec![
        ("bundle_not_gzip", "nothing", Vec::new()),
        ("bundle_not_gzip", "json", b"{\"signatures\":[]}".to_vec()),
        ("bundle_not_gzip", "leading-byte", [b"\0", good.as_slice()].concat()),
        ("bundle_truncated", "magic-alone", good[..2].to_vec()),
        ("bundle_truncated", "empty-tar", empty.clone()),
        ("bundle_gzip_members", "empty-one-first", [empty.as_slice(), &good].concat()),
        ("bundle_gzip_members", "one-tar-in-two", split),
        ("bundle_gzip_members", "empty-one-last", [good.as_slice(), &empty].concat()),
        ("bundle_gzip_trailing", "tar", [good.as_slice(), &whole].concat()),
        ("bundle_not_packed", "more-end-blocks", gzip(&[whole.as_slice(), &[0; 1024]].concat())),
        ("bundle_not_packed", "another-order", another_order()),
        ("bundle_not_packed", "gzip-file-name", named_gzip(&whole)),
        ("bundle_not_gzip", "plain-tar", whole.clone()),
        ("bundle_truncated", "half", good[..good.len() / 2].to_vec()),
        ("bundle_truncated", "last-byte", good[..good.len() - 1].to_vec()),
        ("bundle_truncated", "no-end-blocks", gzip(&stream(&signed()))),
        ("bundle_corrupt", "checksum", changed(good.len() - 8)),
        ("bundle_corrupt", "content", changed(good.len() / 2)),
        ("bundle_not_packed", "gzip-time", changed(4)),
        ("bundle_not_packed", "compressed", gzip(&whole)),
        ("bundle_gzip_members", "twice", [good.clone(), good.clone()].concat()),
        ("bundle_gzip_trailing", "one-byte", [good.as_slice(), b"\0"].concat()),
        ("bundle_tar_trailing", "second-archive", gzip(&second)),
        ("bundle_padding", "in-first-file", gzip(&padded)),
        ("bundle_header", "checksum", gzip(&header)),
        ("bundle_ratio", "two-mebibytes-of-blanks", gzip(&bomb)),
    ]
}

/// The same entries, the other way round.
fn another_order() -> Vec<u8> {
    let files = signed();
    let mut entries: Vec<Vec<u8>> =
        files.iter().map(|(name, bytes)| entry(name, b'0', bytes)).collect();
    entries.reverse();
    gzip(&end(entries.concat()))
}

/// A member that says what file it was made of.
fn named_gzip(stream: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::GzBuilder::new()
        .filename("bundle.tar")
        .write(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut encoder, stream).unwrap();
    encoder.finish().unwrap()
}
