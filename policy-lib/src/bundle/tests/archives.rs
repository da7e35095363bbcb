//! Every reason to refuse an archive, at its edge.

use super::*;

fn id(archive: &[u8]) -> &'static str {
    id_with(archive, &Limits::default())
}

fn id_with(archive: &[u8], limits: &Limits) -> &'static str {
    match read_archive(archive, limits) {
        Ok(_) => "accepted",
        Err(error) => error.id(),
    }
}

fn id_of_name(name: &[u8]) -> &'static str {
    let tape = Tape::default().raw(&header(name, EntryType::Regular, 0), b"");
    id(&tape.archive())
}

#[test]
fn an_archive_of_another_tool_is_read() {
    let tape = Tape::default()
        .entry("rego/", EntryType::Directory, b"")
        .entry("rego/expense/", EntryType::Directory, b"")
        .entry("/cedar", EntryType::Directory, b"")
        .file("/rego/expense/limits.rego", b"package lictor.expense\n")
        .file("/data.json", b"{}");
    let files = read_archive(&tape.archive(), &Limits::default()).unwrap();
    let names: Vec<&str> = files.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["data.json", "rego/expense/limits.rego"]);
    assert_eq!(files.get("data.json"), Some(b"{}".as_slice()));
}

#[test]
fn names_are_the_same_for_every_reader() {
    for (name, expected) in [
        (b"data.json".as_slice(), "accepted"),
        (b"/data.json", "accepted"),
        (b"//data.json", "bundle_name_absolute"),
        (b"./data.json", "bundle_name_dot"),
        (b"rego/./expense/a.rego", "bundle_name_dot"),
        (b"../data.json", "bundle_name_parent"),
        (b"/../data.json", "bundle_name_parent"),
        (b"rego/expense/../../data.json", "bundle_name_parent"),
        (b"rego//a.rego", "bundle_name_empty"),
        (b"data.json/", "bundle_name_empty"),
        (b"/", "bundle_name_empty"),
        (b"", "bundle_name_empty"),
        (b"rego\\expense\\a.rego", "bundle_name_backslash"),
        (b"data.json\0x", "bundle_name_nul"),
        (b"data.json\xff", "bundle_name_utf8"),
        (b"data.json\n", "bundle_name_control"),
        (b"cases/\xe2\x80\xaelmay.yaml", "bundle_name_control"),
        (b"cases/\xe2\x80\x8bx.yaml", "bundle_name_control"),
        (b"cases/\xc3\xa9.yaml", "accepted"),
    ] {
        let shown = String::from_utf8_lossy(name);
        assert_eq!(id_of_name(name), expected, "{shown:?}");
    }
}

#[test]
fn a_nul_is_refused_in_a_name_from_a_folder_too() {
    let pairs = [("data.json\0", Vec::new())];
    let error = Files::from_pairs(pairs, &Limits::default()).unwrap_err();
    assert_eq!(error.id(), "bundle_name_nul");
}

#[test]
fn the_longest_name_fits_both_fields_of_a_header() {
    let name = |folder: usize, file: usize| {
        let folder = "f".repeat(folder - "rego/unit/".len());
        let file = "x".repeat(file - ".rego".len());
        format!("rego/unit/{folder}/{file}.rego")
    };
    for (folder, file, ok) in [(155, 100, true), (156, 100, false), (155, 101, false)] {
        let pairs = [(name(folder, file), b"x".to_vec())];
        match Files::from_pairs(pairs, &Limits::default()) {
            Ok(files) => {
                assert!(ok, "{folder} {file}");
                let read = read_archive(&pack(&files), &Limits::default()).unwrap();
                assert_eq!(read, files);
            }
            Err(error) => {
                assert!(!ok, "{folder} {file}");
                assert_eq!(error.id(), "bundle_name_too_long");
            }
        }
    }
}

#[test]
fn only_files_of_the_layout_are_let_in() {
    for (name, ok) in [
        ("rego/expense/a.rego", true),
        ("rego/expense/sub/a_test.rego", true),
        ("rego/a.rego", false),
        ("rego/Expense/a.rego", false),
        ("rego/1st/a.rego", false),
        ("rego/expense/.rego", false),
        ("rego/expense/a.rego.bak", false),
        ("rego/expense/data.json", false),
        ("cedar/expense.cedar", true),
        ("cedar/a-b.cedar", false),
        ("cedar/sub/a.cedar", false),
        ("cedar/schema.cedarschema", true),
        ("cedar/entities.json", true),
        ("cases/a.yaml", true),
        ("cases/.yaml", false),
        ("cases/sub/a.yaml", false),
        ("cases/a.yml", false),
        ("readme.md", false),
        ("data.yaml", false),
        ("Data.json", false),
        ("policy.wasm", false),
        (".git/config", false),
    ] {
        let expected = if ok { "accepted" } else { "bundle_extra_file" };
        assert_eq!(id_of_name(name.as_bytes()), expected, "{name}");
    }
    assert_eq!(id_of_name(b"patch.json"), "bundle_delta");
}

#[test]
fn only_folders_of_the_layout_are_passed_over() {
    for (name, expected) in [
        ("rego/", "accepted"),
        ("rego/expense/sub/", "accepted"),
        ("cases/", "accepted"),
        ("cases/sub/", "bundle_extra_file"),
        ("rego/Expense/", "bundle_extra_file"),
        ("node_modules/", "bundle_extra_file"),
        ("./", "bundle_name_dot"),
        ("../", "bundle_name_parent"),
        ("rego//", "bundle_name_empty"),
    ] {
        let tape = Tape::default().entry(name, EntryType::Directory, b"");
        assert_eq!(id(&tape.archive()), expected, "{name}");
    }
    let tape = Tape::default().entry("rego/", EntryType::Directory, b"x");
    assert_eq!(id(&tape.archive()), "bundle_directory_data");
}

#[test]
fn duplicates_are_refused_also_with_a_slash_or_in_another_case() {
    let twice = |a: &str, b: &str| id(&Tape::default().file(a, b"1").file(b, b"2").archive());
    assert_eq!(twice("data.json", "data.json"), "bundle_duplicate");
    assert_eq!(twice("data.json", "/data.json"), "bundle_duplicate");
    assert_eq!(twice("data.json", "DATA.json"), "bundle_case_duplicate");
    assert_eq!(twice("cases/straße.yaml", "cases/STRAßE.yaml"), "bundle_case_duplicate");
}

#[test]
fn nothing_but_plain_files_and_folders_is_let_in() {
    for (kind, expected) in [
        (b'0', "accepted"),
        (b'\0', "accepted"),
        (b'1', "bundle_link"),
        (b'2', "bundle_link"),
        (b'3', "bundle_device"),
        (b'4', "bundle_device"),
        (b'6', "bundle_fifo"),
        (b'7', "bundle_entry_type"),
        (b'A', "bundle_entry_type"),
        (b'V', "bundle_entry_type"),
        (b'S', "bundle_sparse"),
        (b'L', "bundle_long_name"),
        (b'K', "bundle_long_name"),
        (b'g', "bundle_pax"),
    ] {
        let tape = Tape::default().entry("data.json", EntryType::new(kind), b"");
        assert_eq!(id(&tape.archive()), expected, "{}", char::from(kind));
    }
}

fn record(key: &str, value: &str) -> String {
    let body = format!(" {key}={value}\n");
    let mut length = body.len() + 1;
    while length.to_string().len() + body.len() != length {
        length += 1;
    }
    format!("{length}{body}")
}

#[test]
fn extended_headers_cannot_rename_or_resize() {
    let with = |records: &str| {
        Tape::default()
            .entry("PaxHeaders/x", EntryType::XHeader, records.as_bytes())
            .file("data.json", b"{}")
            .archive()
    };
    assert_eq!(id(&with(&record("mtime", "1.5"))), "accepted");
    assert_eq!(id(&with(&record("path", "data.json"))), "accepted");
    assert_eq!(id(&with(&record("size", "2"))), "accepted");
    for bad in [
        record("path", ".manifest"),
        record("path", "data.json") + &record("path", ".manifest"),
        record("path", ".manifest") + &record("path", "data.json"),
        record("size", "1"),
        record("linkpath", "/etc/passwd"),
        record("GNU.sparse.name", "data.json"),
        record("SCHILY.xattr.user.a", "b"),
        record("mtime", "1") + "\n" + &record("path", ".manifest"),
        "99 path=data.json\n".to_owned(),
        "path=data.json\n".to_owned(),
        record("mtime", "1").trim_end().to_owned(),
        String::new(),
        record("mtime", &"1".repeat(4096)),
    ] {
        assert_eq!(id(&with(&bad)), "bundle_pax", "{bad:?}");
    }
}

#[test]
fn an_extended_header_has_one_entry_to_speak_of() {
    let mtime = record("mtime", "1");
    let twice = Tape::default()
        .entry("x", EntryType::XHeader, mtime.as_bytes())
        .entry("x", EntryType::XHeader, mtime.as_bytes())
        .file("data.json", b"{}");
    assert_eq!(id(&twice.archive()), "bundle_pax");
    let dangling = Tape::default().entry("x", EntryType::XHeader, mtime.as_bytes());
    assert_eq!(id(&dangling.archive()), "bundle_truncated");
}

#[test]
fn the_prefix_field_is_part_of_the_name() {
    let with = |prefix: &[u8]| {
        let mut header = header(b"data.json", EntryType::Regular, 0);
        header.as_mut_bytes()[345..345 + prefix.len()].copy_from_slice(prefix);
        header.set_cksum();
        id(&Tape::default().raw(&header, b"").archive())
    };
    assert_eq!(with(b""), "accepted");
    assert_eq!(with(b".."), "bundle_name_parent");
    assert_eq!(with(b"rego"), "bundle_extra_file");
    assert_eq!(with(b"\0hidden"), "bundle_name_nul");
}

#[test]
fn a_header_must_add_up() {
    let mut header = header(b"data.json", EntryType::Regular, 0);
    header.as_mut_bytes()[100] ^= 1;
    let tape = Tape::default().raw(&header, b"");
    assert_eq!(id(&tape.archive()), "bundle_header");
    header.as_mut_bytes()[124..136].copy_from_slice(b"not a number");
    header.set_cksum();
    let tape = Tape::default().raw(&header, b"");
    assert_eq!(id(&tape.archive()), "bundle_header");
}

#[test]
fn every_truncation_is_refused() {
    for archive in [pack(&files()), Tape::of(&files()).archive()] {
        assert_eq!(id(&archive), "accepted");
        for length in 2..archive.len() {
            assert_eq!(id(&archive[..length]), "bundle_truncated", "{length}");
        }
        assert_eq!(id(&archive[..1]), "bundle_not_gzip");
        assert_eq!(id(b""), "bundle_not_gzip");
    }
}

#[test]
fn the_tar_stream_must_be_whole() {
    let mut short = Tape::of(&files()).end();
    for missing in [1, 512, 513, 1024, 1100] {
        let cut = short.len() - missing;
        assert_eq!(id(&gzip(&short[..cut])), "bundle_truncated", "{missing}");
    }
    short.truncate(600);
    assert_eq!(id(&gzip(&short)), "bundle_truncated");
    let mut huge = header(b"data.json", EntryType::Regular, 0);
    huge.set_size(u64::MAX / 2);
    huge.set_cksum();
    let tape = Tape::default().raw(&huge, b"");
    assert_eq!(id(&tape.archive()), "bundle_file_too_large");
}

#[test]
fn nothing_may_follow_the_end() {
    let stream = Tape::of(&files()).end();
    let archive = gzip(&stream);
    assert_eq!(id(&[archive.as_slice(), &archive].concat()), "bundle_gzip_members");
    assert_eq!(id(&[archive.as_slice(), b"x"].concat()), "bundle_gzip_trailing");
    assert_eq!(id(&[archive.as_slice(), &[0]].concat()), "bundle_gzip_trailing");
    let zeros = [stream.as_slice(), &[0; 512]].concat();
    assert_eq!(id(&gzip(&zeros)), "accepted");
    let hidden = Tape::default().file("data.json", b"{}").end();
    let second = [stream.as_slice(), &hidden].concat();
    assert_eq!(id(&gzip(&second)), "bundle_tar_trailing");
    let mut late = zeros;
    if let Some(last) = late.last_mut() {
        *last = 1;
    }
    assert_eq!(id(&gzip(&late)), "bundle_tar_trailing");
}

#[test]
fn padding_carries_nothing() {
    let mut tape = Tape::default().file("data.json", b"{}");
    tape.bytes[512 + 2] = 1;
    assert_eq!(id(&tape.archive()), "bundle_padding");
}

#[test]
fn damage_is_told_from_truncation() {
    let archive = pack(&files());
    let mut crc = archive.clone();
    let at = crc.len() - 8;
    crc[at] ^= 1;
    assert_eq!(id(&crc), "bundle_corrupt");
    let mut block = archive.clone();
    block[10] = 7;
    assert_eq!(id(&block), "bundle_corrupt");
    let mut method = archive;
    method[2] = 9;
    assert_eq!(id(&method), "bundle_corrupt");
}

#[test]
fn the_archive_size_ends_at_its_limit() {
    let archive = pack(&files());
    let with = |archive_bytes| Limits { archive_bytes, ..Limits::default() };
    assert_eq!(id_with(&archive, &with(archive.len())), "accepted");
    assert_eq!(id_with(&archive, &with(archive.len() - 1)), "bundle_archive_too_large");
}

#[test]
fn the_size_of_a_file_ends_at_its_limit() {
    let limits = Limits { file_bytes: 10, ..Limits::default() };
    let with = |length: usize| {
        let tape = Tape::default().file("data.json", &vec![b'x'; length]);
        id_with(&tape.archive(), &limits)
    };
    assert_eq!(with(10), "accepted");
    assert_eq!(with(11), "bundle_file_too_large");
}

#[test]
fn the_size_of_all_files_ends_at_its_limit() {
    let limits = Limits { total_bytes: 20, ..Limits::default() };
    let with = |length: usize| {
        let tape =
            Tape::default().file("data.json", &[b'x'; 10]).file("README.md", &vec![b'x'; length]);
        id_with(&tape.archive(), &limits)
    };
    assert_eq!(with(10), "accepted");
    assert_eq!(with(11), "bundle_total_too_large");
}

#[test]
fn folders_and_extended_headers_count_as_entries() {
    let limits = Limits { entries: 3, ..Limits::default() };
    let tape = Tape::default()
        .entry("rego/", EntryType::Directory, b"")
        .entry("x", EntryType::XHeader, record("mtime", "1").as_bytes())
        .file("data.json", b"");
    assert_eq!(id_with(&tape.clone().archive(), &limits), "accepted");
    let more = tape.entry("cases/", EntryType::Directory, b"");
    assert_eq!(id_with(&more.archive(), &limits), "bundle_too_many_entries");
}

#[test]
fn a_folder_has_the_same_limits() {
    let limits = Limits { file_bytes: 4, total_bytes: 6, entries: 2, ..Limits::default() };
    let id = |sizes: &[usize]| {
        let pairs = sizes
            .iter()
            .enumerate()
            .map(|(index, size)| (format!("cases/{index}.yaml"), vec![b'x'; *size]));
        Files::from_pairs(pairs, &limits).map_or_else(|error| error.id(), |_| "accepted")
    };
    assert_eq!(id(&[4, 2]), "accepted");
    assert_eq!(id(&[5]), "bundle_file_too_large");
    assert_eq!(id(&[4, 3]), "bundle_total_too_large");
    assert_eq!(id(&[1, 1, 1]), "bundle_too_many_entries");
}

#[test]
fn the_ratio_ends_at_its_limit_while_reading() {
    let stream = Tape::default().file("data.json", &vec![b' '; 200_000]).end();
    let archive = gzip(&stream);
    let exact = stream.len().div_ceil(archive.len());
    let with = |ratio| Limits { ratio, ratio_free_bytes: 0, ..Limits::default() };
    assert_eq!(id_with(&archive, &with(exact)), "accepted");
    assert_eq!(id_with(&archive, &with(exact - 1)), "bundle_ratio");
    let free = |ratio_free_bytes| Limits { ratio: 1, ratio_free_bytes, ..Limits::default() };
    assert_eq!(id_with(&archive, &free(stream.len())), "accepted");
    assert_eq!(id_with(&archive, &free(stream.len() - 1)), "bundle_ratio");
}

#[test]
fn a_bomb_is_stopped_before_it_is_unpacked() {
    let bomb = gzip(&vec![0; 8 << 20]);
    assert_eq!(id(&bomb), "bundle_ratio");
    let wide = Limits { ratio: usize::MAX, total_bytes: 1 << 20, entries: 1, ..Limits::default() };
    assert_eq!(id_with(&bomb, &wide), "bundle_total_too_large");
}
