//! What holds for any input.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

static SIGNED: LazyLock<Vec<u8>> = LazyLock::new(|| pack(&signed()));

fn any_files() -> impl Strategy<Value = Files> {
    let name = prop_oneof![
        Just(".manifest".to_owned()),
        Just(".signatures.json".to_owned()),
        Just("data.json".to_owned()),
        Just("README.md".to_owned()),
        "cases/[a-z0-9 é]{1,8}\\.yaml",
        "cedar/[a-z][a-z0-9_]{0,8}\\.cedar",
        "rego/[a-z][a-z0-9_]{0,8}/([a-z]{1,60}/){0,2}[a-z]{1,60}\\.rego",
    ];
    let bytes = prop::collection::vec(any::<u8>(), 0..1500);
    prop::collection::btree_map(name, bytes, 0..8)
        .prop_map(|map| Files::from_pairs(map, &Limits::default()).unwrap())
}

proptest! {
    #[test]
    fn reading_undoes_packing(files in any_files()) {
        let archive = pack(&files);
        let read = read_archive(&archive, &Limits::default()).unwrap();
        prop_assert_eq!(&read, &files);
        prop_assert_eq!(pack(&read), archive);
    }

    #[test]
    fn reading_anything_ends_well(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = read_archive(&bytes, &Limits::default());
        let _ = read_archive(&gzip(&bytes), &Limits::default());
    }

    #[test]
    fn a_damaged_stream_is_read_or_refused(
        at in 0_usize..4096,
        flip in 1_u8..,
    ) {
        let mut stream = Tape::of(&files()).end();
        let at = at % stream.len();
        stream[at] ^= flip;
        if let Ok(files) = read_archive(&gzip(&stream), &Limits::default()) {
            let again = read_archive(&pack(&files), &Limits::default());
            prop_assert_eq!(again, Ok(files));
        }
    }

    #[test]
    fn any_changed_byte_of_a_signed_archive_is_refused(
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut archive = SIGNED.clone();
        let at = at.index(archive.len());
        archive[at] ^= flip;
        prop_assert!(verify_signed(Source::Archive(&archive)).is_err());
    }

    #[test]
    fn any_removed_or_added_byte_of_a_signed_archive_is_refused(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let at = at.index(SIGNED.len());
        let mut shorter = SIGNED.clone();
        shorter.remove(at);
        prop_assert!(verify_signed(Source::Archive(&shorter)).is_err());
        let mut longer = SIGNED.clone();
        longer.insert(at, byte);
        prop_assert!(verify_signed(Source::Archive(&longer)).is_err());
    }

    #[test]
    fn building_twice_changes_nothing(
        keys in prop::collection::btree_set("[a-z\u{2028}\"\\\\]{1,4}", 0..6),
        number in "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,5})?",
    ) {
        let members: Vec<String> = keys
            .iter()
            .rev()
            .map(|key| format!(" {} : {number} ", serde_json::Value::from(key.as_str())))
            .collect();
        let mut files = files();
        files.set("data.json", format!("{{{}}}", members.join(",")).into_bytes());
        let built = build(&files).unwrap();
        let text = std::str::from_utf8(built.get("data.json").unwrap()).unwrap();
        prop_assert_eq!(text.matches(number.as_str()).count() >= keys.len(), true);
        prop_assert_eq!(build(&built).unwrap(), built);
    }
}

/// Every single bit, where the property above takes samples.
#[test]
fn any_flipped_bit_of_a_signed_archive_is_refused() {
    let mut archive = SIGNED.clone();
    for at in 0..archive.len() {
        for bit in 0..8 {
            archive[at] ^= 1 << bit;
            let verdict = verify_signed(Source::Archive(&archive));
            assert!(verdict.is_err(), "byte {at}, bit {bit}");
            archive[at] ^= 1 << bit;
        }
    }
    assert!(verify_signed(Source::Archive(&archive)).is_ok());
}
