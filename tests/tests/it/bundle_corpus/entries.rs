//! Wrong entries: names that two readers take for different files, entries that
//! are no files, sizes that are none.

use lictor_policy_lib::bundle::{Files, Limits, pack};
use tar::Header;

use super::make::{Vector, end, entry, gzip, signed, stream, with_entry};

pub(super) fn refused() -> Vec<Vector> {
    let rename = |key: &str, value: &str| {
        let length = 4 + key.len() + 1 + value.len();
        let record = format!("{length} {key}={value}\n");
        let mut stream = stream(&signed());
        stream.extend(entry("PaxHeaders/x", b'x', record.as_bytes()));
        stream.extend(entry("cases/x.yaml", b'0', b""));
        gzip(&end(stream))
    };
    let mut sized = with_sizes();
    sized.extend(renamed());
    sized.extend([
        ("bundle_link", "symbolic-to-data", link(b'2', "cases/x.yaml", "../data.json")),
        ("bundle_link", "symbolic-in-place-of-data", linked_data()),
        ("bundle_link", "symbolic-folder", link(b'2', "rego/other", "/etc")),
        ("bundle_link", "hard-to-data", link(b'1', "cases/x.yaml", "data.json")),
        ("bundle_pax", "linkpath", rename("linkpath", "/etc/passwd")),
        ("bundle_pax", "character-set", rename("hdrcharset", "BINARY")),
        ("bundle_pax", "real-size", rename("SCHILY.realsize", "1")),
        ("bundle_pax", "sparse-format-one", rename("GNU.sparse.major", "1")),
        ("bundle_pax", "access-list", rename("SCHILY.acl.access", "user::rwx")),
        ("bundle_pax", "signature-file", rename("path", ".signatures.json")),
        ("bundle_pax", "record-cut", with_entry("PaxHeaders/x", b'x', b"20 path=a")),
        ("bundle_pax", "empty-line", with_entry("PaxHeaders/x", b'x', b"\n17 path=data.json\n")),
        (
            "bundle_truncated",
            "pax-without-entry",
            with_entry("PaxHeaders/x", b'x', b"11 mtime=1\n"),
        ),
        ("bundle_long_name", "gnu-link", with_entry("././@LongLink", b'K', b"data.json\0")),
        ("bundle_entry_type", "continued-multi-volume", with_entry("data.json", b'M', b"{}")),
        ("bundle_entry_type", "contiguous", with_entry("cases/x.yaml", b'7', b"")),
        ("bundle_duplicate", "second-manifest", with_entry(".manifest", b'0', b"{}")),
        (
            "bundle_duplicate",
            "second-signatures",
            with_entry(".signatures.json", b'0', b"{\"signatures\":[]}"),
        ),
        (
            "bundle_duplicate",
            "signatures-with-slash",
            with_entry("/.signatures.json", b'0', b"{\"signatures\":[]}"),
        ),
        ("bundle_name_dot", "signatures", with_entry("./.signatures.json", b'0', b"{}")),
        ("bundle_name_dot", "inside", with_entry("rego/./expense/x.rego", b'0', b"")),
        ("bundle_name_parent", "folder", with_entry("../", b'5', b"")),
        ("bundle_extra_file", "system-file", with_entry("/etc/passwd", b'0', b"")),
        ("bundle_name_control", "zero-width", with_entry("cases/x\u{200b}.yaml", b'0', b"")),
        ("bundle_name_control", "carriage-return", with_entry("data.json\r", b'0', b"")),
        ("bundle_name_utf8", "latin-1", raw_name(b"cases/\xe9.yaml")),
        ("bundle_case_duplicate", "signatures", with_entry(".SIGNATURES.JSON", b'0', b"{}")),
        ("bundle_case_duplicate", "manifest", with_entry(".Manifest", b'0', b"{}")),
        (
            "bundle_case_duplicate",
            "unit",
            with_entry("rego/EXPENSE/limits.rego", b'0', b"package lictor.expense\n"),
        ),
        ("bundle_extra_file", "no-dot", with_entry("signatures.json", b'0', b"{}")),
        ("bundle_extra_file", "nested-signatures", with_entry("rego/.signatures.json", b'0', b"")),
        ("bundle_extra_file", "nested-manifest", with_entry("rego/a/.manifest", b'0', b"{}")),
        ("bundle_extra_file", "data-in-yaml", with_entry("data.yaml", b'0', b"{}")),
        ("bundle_extra_file", "nested-data", with_entry("rego/expense/data.json", b'0', b"{}")),
        ("bundle_extra_file", "trailing-space", with_entry("data.json ", b'0', b"{}")),
        ("bundle_extra_file", "environment", with_entry(".env", b'0', b"")),
        ("bundle_extra_file", "folder", with_entry("hooks/", b'5', b"")),
        ("bundle_directory_data", "in-place-of-a-file", with_entry("data.json/", b'5', b"{}")),
    ]);
    let mut plain = vec![
        ("bundle_link", "symbolic", with_entry("cases/x.yaml", b'2', b"")),
        ("bundle_link", "hard", with_entry("cases/x.yaml", b'1', b"")),
        ("bundle_device", "character", with_entry("cases/x.yaml", b'3', b"")),
        ("bundle_device", "block", with_entry("cases/x.yaml", b'4', b"")),
        ("bundle_fifo", "pipe", with_entry("cases/x.yaml", b'6', b"")),
        ("bundle_sparse", "gnu", with_entry("cases/x.yaml", b'S', b"")),
        ("bundle_long_name", "gnu", with_entry("././@LongLink", b'L', b"data.json\0")),
        ("bundle_pax", "path", rename("path", ".manifest")),
        ("bundle_pax", "size", rename("size", "99999")),
        ("bundle_pax", "sparse", rename("GNU.sparse.name", "a")),
        ("bundle_pax", "global", with_entry("pax_global_header", b'g', b"")),
        ("bundle_entry_type", "volume-label", with_entry("label", b'V', b"")),
        ("bundle_directory_data", "cases", with_entry("cases/", b'5', b"x")),
        ("bundle_name_absolute", "two-slashes", with_entry("//data.json", b'0', b"")),
        ("bundle_name_parent", "above", with_entry("../data.json", b'0', b"")),
        ("bundle_name_parent", "inside", with_entry("rego/a/../../data.json", b'0', b"")),
        ("bundle_name_dot", "leading", with_entry("./data.json", b'0', b"")),
        ("bundle_name_empty", "component", with_entry("rego//a.rego", b'0', b"")),
        ("bundle_name_backslash", "separator", with_entry("rego\\a\\a.rego", b'0', b"")),
        ("bundle_name_nul", "hidden-tail", with_entry("data.json\0x", b'0', b"")),
        ("bundle_name_control", "newline", with_entry("cases/x\n.yaml", b'0', b"")),
        ("bundle_name_control", "direction", with_entry("cases/\u{202e}x.yaml", b'0', b"")),
        ("bundle_duplicate", "same-name", with_entry("data.json", b'0', b"{}")),
        ("bundle_duplicate", "leading-slash", with_entry("/data.json", b'0', b"{}")),
        ("bundle_case_duplicate", "upper-case", with_entry("DATA.JSON", b'0', b"{}")),
        ("bundle_extra_file", "script", with_entry("install.sh", b'0', b"")),
        ("bundle_extra_file", "wasm", with_entry("policy.wasm", b'0', b"")),
        ("bundle_delta", "patch", with_entry("patch.json", b'0', b"{}")),
    ];
    plain.extend(sized);
    plain
}

/// The signed files with a link.
fn link(kind: u8, name: &str, target: &str) -> Vec<u8> {
    let mut stream = stream(&signed());
    stream.extend(changed(entry(name, kind, b""), |header| {
        header.as_mut_bytes()[157..157 + target.len()].copy_from_slice(target.as_bytes());
    }));
    gzip(&end(stream))
}

/// The signed files with a link where the data should be.
fn linked_data() -> Vec<u8> {
    let files = signed();
    let entries = files.iter().map(|(name, bytes)| match name {
        "data.json" => entry(name, b'2', b""),
        _ => entry(name, b'0', bytes),
    });
    gzip(&end(entries.collect::<Vec<_>>().concat()))
}

/// An entry whose header is changed and has the right checksum again.
fn changed(mut entry: Vec<u8>, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_old();
    header.as_mut_bytes().copy_from_slice(&entry[..512]);
    change(&mut header);
    header.set_cksum();
    entry[..512].copy_from_slice(header.as_bytes());
    entry
}

fn raw_name(name: &[u8]) -> Vec<u8> {
    let mut stream = stream(&signed());
    stream.extend(changed(entry("", b'0', b""), |header| {
        header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    }));
    gzip(&end(stream))
}

/// Sizes that overflow, are negative, or promise more than there is.
fn with_sizes() -> Vec<Vector> {
    let sized = |field: &[u8]| {
        let mut stream = stream(&signed());
        stream.extend(changed(entry("cases/x.yaml", b'0', b""), |header| {
            header.as_mut_bytes()[124..124 + field.len()].copy_from_slice(field);
        }));
        gzip(&end(stream))
    };
    let many = |count: usize| {
        let mut stream = stream(&signed());
        for number in 0..count {
            // Names that do not compress, so that the ratio is not what refuses it.
            let name = format!("cases/{:08x}.yaml", (number as u32).wrapping_mul(2_654_435_761));
            stream.extend(entry(&name, b'0', b""));
        }
        gzip(&end(stream))
    };
    vec![
        ("bundle_file_too_large", "no-data-behind", sized(b"77777777777\0")),
        (
            "bundle_file_too_large",
            "binary-size",
            sized(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff"),
        ),
        ("bundle_file_too_large", "negative-size", sized(&[0xff; 12])),
        ("bundle_header", "size-of-letters", sized(b"letters\0\0\0\0\0")),
        ("bundle_truncated", "size-past-the-end", sized(b"00000100000\0")),
        ("bundle_too_many_entries", "ten-thousand", many(10_000)),
    ]
}

/// Files that were signed under other names.
fn renamed() -> Vec<Vector> {
    let under = |from: &str, to: &str| {
        let files = signed();
        let pairs = files
            .iter()
            .map(|(name, bytes)| (if name == from { to } else { name }, bytes.as_ref()));
        pack(&Files::from_pairs(pairs, &Limits::default()).unwrap())
    };
    let swapped = {
        let files = signed();
        let (cedar, rego) = ("cedar/expense.cedar", "rego/expense/limits.rego");
        let pairs = files.iter().map(|(name, bytes)| match name {
            name if name == cedar => (rego, bytes.as_ref()),
            name if name == rego => (cedar, bytes.as_ref()),
            name => (name, bytes.as_ref()),
        });
        let mut pairs: Vec<(&str, &[u8])> = pairs.collect();
        pairs.sort();
        pack(&Files::from_pairs(pairs, &Limits::default()).unwrap())
    };
    vec![
        (
            "bundle_file_missing",
            "policy-renamed",
            under("cedar/expense.cedar", "cedar/other.cedar"),
        ),
        (
            "bundle_file_missing",
            "policy-made-a-test",
            under("rego/expense/limits.rego", "rego/expense/limits_test.rego"),
        ),
        ("bundle_file_missing", "data-made-a-case", under("data.json", "cases/data.yaml")),
        ("bundle_hash", "contents-swapped", swapped),
    ]
}
