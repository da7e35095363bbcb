//! Payment card numbers: brand prefix and length, Luhn's check digit, and no longer number around.

/// Fewest and most digits of a card number.
const MIN_CARD_DIGITS: usize = 13;
const MAX_CARD_DIGITS: usize = 19;

/// How cards are printed. A part of a longer row of digit groups counts only in one of these shapes;
/// a row that stands alone counts in any.
const PRINTED: [&[usize]; 8] = [
    &[4, 4, 4, 4],
    &[4, 6, 5],
    &[4, 6, 4],
    &[4, 4, 4, 4, 3],
    &[4, 4, 5],
    &[4, 3, 3, 3],
    &[6, 13],
    &[8, 8],
];

/// Brands: lowest and highest value of the first four digits, lengths.
const BRANDS: [(u32, u32, &[usize]); 27] = [
    (1800, 1800, &[15]),
    (2131, 2131, &[15]),
    (2200, 2204, &[16, 17, 18, 19]),
    (2221, 2720, &[16]),
    (3000, 3059, &[14, 16, 17, 18, 19]),
    (3095, 3095, &[14, 16, 17, 18, 19]),
    (3400, 3499, &[15]),
    (3528, 3589, &[16, 17, 18, 19]),
    (3600, 3699, &[14, 15, 16, 17, 18, 19]),
    (3700, 3799, &[15]),
    (3800, 3999, &[14, 16, 17, 18, 19]),
    (4000, 4999, &[13, 16, 19]),
    (5018, 5020, &[13, 14, 15, 16, 17, 18, 19]),
    (5038, 5038, &[13, 14, 15, 16, 17, 18, 19]),
    (5060, 5061, &[16, 18, 19]),
    (5080, 5089, &[16]),
    (5100, 5599, &[16]),
    (5600, 5899, &[13, 14, 15, 16, 17, 18, 19]),
    (6011, 6011, &[16, 17, 18, 19]),
    (6200, 6299, &[16, 17, 18, 19]),
    (6304, 6304, &[13, 14, 15, 16, 17, 18, 19]),
    (6370, 6399, &[13, 14, 15, 16, 17, 18, 19]),
    (6440, 6499, &[16, 17, 18, 19]),
    (6500, 6599, &[16, 17, 18, 19]),
    (6759, 6759, &[13, 14, 15, 16, 17, 18, 19]),
    (6761, 6763, &[13, 14, 15, 16, 17, 18, 19]),
    (9792, 9792, &[16]),
];

/// A run of digits.
#[derive(Debug, Clone, Copy)]
struct Group {
    start: usize,
    len: usize,
    /// The single space or dash before it, when it is not the first of its row.
    joint: Option<u8>,
}

/// Reports the byte span of every card number, from left to right and without overlap.
pub(crate) fn scan(text: &str, mut report: impl FnMut(usize, usize)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut row = Vec::new();
    while let Some(byte) = bytes.get(at) {
        if !byte.is_ascii_digit() {
            at += 1;
            continue;
        }
        let start = at;
        at = read_row(bytes, at, &mut row);
        if at - start >= MIN_CARD_DIGITS {
            cards_in(bytes, &row, &mut report);
        }
    }
}

/// Reads digit groups joined by single spaces or dashes, and returns where they end.
fn read_row(bytes: &[u8], mut at: usize, row: &mut Vec<Group>) -> usize {
    row.clear();
    let mut joint = None;
    loop {
        let start = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        row.push(Group { start, len: at - start, joint });
        joint = bytes.get(at).copied().filter(|b| matches!(b, b' ' | b'-'));
        let goes_on = joint.is_some() && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !goes_on {
            return at;
        }
        at += 1;
    }
}

fn cards_in(bytes: &[u8], row: &[Group], report: &mut impl FnMut(usize, usize)) {
    let digits: usize = row.iter().map(|g| g.len).sum();
    if (MIN_CARD_DIGITS..=MAX_CARD_DIGITS).contains(&digits) && report_if_card(bytes, row, report) {
        return;
    }
    let mut rest = row;
    while let Some((first, after)) = rest.split_first() {
        let alone = (MIN_CARD_DIGITS..=MAX_CARD_DIGITS)
            .contains(&first.len)
            .then(|| rest.get(..1))
            .flatten();
        let printed = PRINTED.iter().filter_map(|shape| printed_at(rest, shape));
        let taken = alone
            .into_iter()
            .chain(printed)
            .find(|groups| report_if_card(bytes, groups, report))
            .map(<[Group]>::len);
        rest = match taken {
            Some(count) => rest.get(count..).unwrap_or_default(),
            None => after,
        };
    }
}

/// The first groups of the row, when they have the shape, one joint throughout, and are not part of a longer
/// number joined by dashes.
fn printed_at<'a>(row: &'a [Group], shape: &[usize]) -> Option<&'a [Group]> {
    let groups = row.get(..shape.len())?;
    let fits = groups.iter().zip(shape).all(|(group, len)| group.len == *len);
    let joint = groups.get(1)?.joint;
    let even = groups.iter().skip(1).all(|group| group.joint == joint);
    let dashed =
        |group: Option<&Group>| joint == Some(b'-') && group.is_some_and(|g| g.joint == Some(b'-'));
    let longer = dashed(groups.first()) || dashed(row.get(shape.len()));
    (fits && even && !longer).then_some(groups)
}

fn report_if_card(bytes: &[u8], groups: &[Group], report: &mut impl FnMut(usize, usize)) -> bool {
    let (Some(first), Some(last)) = (groups.first(), groups.last()) else {
        return false;
    };
    let (start, end) = (first.start, last.start + last.len);
    let span = bytes.get(start..end).unwrap_or_default();
    let digits = || span.iter().filter(|b| b.is_ascii_digit()).map(|b| u32::from(b - b'0'));
    let found = is_brand(digits().take(4).fold(0, |n, d| n * 10 + d), digits().count())
        && luhn(digits())
        && stands_alone(bytes, start, end);
    if found {
        report(start, end);
    }
    found
}

fn is_brand(prefix: u32, length: usize) -> bool {
    BRANDS
        .iter()
        .any(|(low, high, lengths)| (*low..=*high).contains(&prefix) && lengths.contains(&length))
}

/// Luhn's check over digits from left to right.
fn luhn(digits: impl Iterator<Item = u32>) -> bool {
    // The position from the right decides which digit doubles, so both sums are kept until the end.
    let (mut kept, mut doubled) = (0, 0);
    for digit in digits {
        let twice = digit * 2;
        let twice = if twice > 9 { twice - 9 } else { twice };
        (kept, doubled) = (doubled + digit, kept + twice);
    }
    kept % 10 == 0
}

/// Whether the digits are no part of a decimal number, an identifier or a digest.
fn stands_alone(bytes: &[u8], start: usize, end: usize) -> bool {
    let digit_at =
        |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let point = |byte: u8| matches!(byte, b'.' | b',');
    let free_after = match bytes.get(end) {
        None => true,
        Some(byte) if point(*byte) => !digit_at(Some(end + 1)),
        Some(byte) => !(byte.is_ascii_alphanumeric() || *byte == b'_'),
    };
    let before = bytes.get(..start).unwrap_or_default();
    let free_before = match before.last() {
        None => true,
        Some(byte) if point(*byte) => !digit_at(start.checked_sub(2)),
        Some(byte) if byte.is_ascii_alphabetic() => ends_in_word(before),
        Some(byte) => !(byte.is_ascii_digit() || *byte == b'_'),
    };
    free_after && free_before
}

/// Whether the letters before a number are a word or an escaped line break, not the hex digits of a digest.
fn ends_in_word(before: &[u8]) -> bool {
    const LONGEST_WORD: usize = 16;
    let letters =
        before.iter().rev().take_while(|b| b.is_ascii_alphabetic()).take(LONGEST_WORD + 1);
    let count = letters.clone().count();
    let mut ahead = before.iter().rev().skip(count);
    let lead = ahead.next();
    let escape = count == 1 && lead == Some(&b'\\');
    let hex = letters.clone().all(u8::is_ascii_hexdigit);
    let joined = lead.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'/'));
    escape || ((2..=LONGEST_WORD).contains(&count) && !hex && !joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appends the check digit to a number that lacks it.
    fn complete(partial: &str) -> String {
        (0..10)
            .map(|check| format!("{partial}{check}"))
            .find(|number| luhn(number.bytes().map(|b| u32::from(b - b'0'))))
            .unwrap()
    }

    fn visa() -> String {
        complete("453227664457702")
    }

    fn grouped(number: &str, joint: &str, lens: &[usize]) -> String {
        let mut rest = number;
        let mut parts = Vec::new();
        for len in lens {
            let (part, after) = rest.split_at(*len);
            parts.push(part);
            rest = after;
        }
        parts.join(joint)
    }

    fn found(text: &str) -> Vec<String> {
        let mut out = Vec::new();
        scan(text, |start, end| out.push(text.get(start..end).unwrap().to_owned()));
        out
    }

    #[test]
    fn luhn_takes_valid_and_refuses_changed() {
        let digits = |text: &str| text.bytes().map(|b| u32::from(b - b'0')).collect::<Vec<_>>();
        assert!(luhn(digits("79927398713").into_iter()));
        for wrong in ["79927398710", "79927398731", "79927398714"] {
            assert!(!luhn(digits(wrong).into_iter()), "{wrong}");
        }
    }

    #[test]
    fn brands_and_lengths_hold_at_their_edges() {
        for (partial, is_card) in [
            ("401288888888", true),
            ("4012888888881", false),
            ("40128888888818", false),
            ("401288888888181", true),
            ("401288888888181888", true),
            ("4012888888881818881", false),
            ("555555555555444", true),
            ("560055555555", true),
            ("222100000000000", true),
            ("222000000000000", false),
            ("272099999999999", true),
            ("272100000000000", false),
            ("37828224631000", true),
            ("378282246310001", false),
            ("3056930902590", true),
            ("353011133330000", true),
            ("601111111111111", true),
            ("620000000000000", true),
            ("100000000000000", false),
            ("700000000000000", false),
        ] {
            let number = complete(partial);
            assert_eq!(found(&number), if is_card { vec![number] } else { vec![] }, "{partial}");
        }
    }

    #[test]
    fn single_separators_are_part_of_a_number() {
        let number = visa();
        for joint in ["", " ", "-"] {
            let card = grouped(&number, joint, &[4, 4, 4, 4]);
            assert_eq!(found(&format!("pay with {card}, thanks")), std::slice::from_ref(&card));
        }
        let spaced = grouped(&number, " ", &[1; 16]);
        assert_eq!(found(&spaced), [spaced]);
        for joint in ["  ", ".", "\n", " -"] {
            assert!(found(&grouped(&number, joint, &[4, 4, 4, 4])).is_empty());
        }
    }

    #[test]
    fn a_printed_card_is_found_among_other_numbers() {
        let card = grouped(&visa(), " ", &[4, 4, 4, 4]);
        assert_eq!(found(&format!("12 {card} 2027 123")), std::slice::from_ref(&card));
        let bare = visa();
        assert_eq!(found(&format!("5 {bare} 12-27")), std::slice::from_ref(&bare));
        let amex = grouped(&complete("37828224631000"), "-", &[4, 6, 5]);
        assert_eq!(found(&format!("7 {amex} 9 {bare}")), [amex, bare]);
    }

    #[test]
    fn longer_numbers_hold_no_card() {
        let number = visa();
        for text in [
            format!("1{number}"),
            format!("{number}1"),
            format!("0.{number}"),
            format!("{number}.5"),
            format!("1,{number}"),
            format!("{}-1234", grouped(&number, "-", &[4, 4, 4, 4])),
            format!("1234-{}", grouped(&number, "-", &[4, 4, 4, 4])),
            "4".repeat(64),
        ] {
            assert!(found(&text).is_empty(), "{text}");
        }
    }

    #[test]
    fn digests_hold_no_card_and_words_may_touch_one() {
        let number = visa();
        for text in [
            format!("{number}a"),
            format!("ab{number}"),
            format!("a{number}"),
            format!("x1y{number}"),
            format!("Zq/xr{number}"),
            format!("id_{number}"),
        ] {
            assert!(found(&text).is_empty(), "{text}");
        }
        for text in [
            format!("PAN{number}"),
            format!("card:{number}."),
            format!("\\n{number}\\n"),
            format!("é{number}é"),
            format!("({number})"),
        ] {
            assert_eq!(found(&text), std::slice::from_ref(&number), "{text}");
        }
    }

    #[test]
    fn a_wrong_check_digit_is_no_card() {
        let number = visa();
        for check in 0..10 {
            let other = format!("{}{check}", number.split_at(15).0);
            assert_eq!(found(&other).is_empty(), other != number);
        }
    }
}
