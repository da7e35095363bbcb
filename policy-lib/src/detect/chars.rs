//! Characters that do not show, and where they are at home.

/// Kinds of characters that do not show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unseen {
    /// No width: joiners, fillers, soft hyphens.
    ZeroWidth,
    /// Changes the direction of the text around.
    Bidi,
    /// A tag character: invisible ASCII.
    Tag,
    /// Chooses a glyph variant of the character before.
    Variation,
}

pub(crate) const BYTE_ORDER_MARK: char = '\u{FEFF}';
pub(crate) const NON_JOINER: char = '\u{200C}';
pub(crate) const JOINER: char = '\u{200D}';
pub(crate) const ZERO_SPACE: char = '\u{200B}';
pub(crate) const BLACK_FLAG: char = '\u{1F3F4}';
pub(crate) const CANCEL_TAG: char = '\u{E007F}';
pub(crate) const KEYCAP: char = '\u{20E3}';

/// The kind of a character that does not show.
pub(crate) fn unseen(c: char) -> Option<Unseen> {
    match c {
        '\u{00AD}' | '\u{034F}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}'
        | '\u{180E}' => Some(Unseen::ZeroWidth),
        '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2065}' | '\u{206A}'..='\u{206F}' => {
            Some(Unseen::ZeroWidth)
        }
        '\u{3164}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF9}'..='\u{FFFB}' => Some(Unseen::ZeroWidth),
        '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' => Some(Unseen::ZeroWidth),
        '\u{061C}' | '\u{200E}' | '\u{200F}' => Some(Unseen::Bidi),
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => Some(Unseen::Bidi),
        '\u{E0000}'..='\u{E007F}' => Some(Unseen::Tag),
        '\u{180B}'..='\u{180D}' | '\u{180F}' => Some(Unseen::Variation),
        '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}' => Some(Unseen::Variation),
        _ => None,
    }
}

/// The ASCII character that a tag character stands for.
pub(crate) fn tag_value(c: char) -> Option<char> {
    let value = u32::from(c).checked_sub(0xE0000)?;
    (0x20..0x7F).contains(&value).then(|| char::from_u32(value)).flatten()
}

/// The byte that a variation selector stands for where bytes are smuggled.
pub(crate) fn selector_value(c: char) -> Option<u8> {
    let value = match u32::from(c) {
        code @ 0xFE00..=0xFE0F => code - 0xFE00,
        code @ 0xE0100..=0xE01EF => code - 0xE0100 + 16,
        _ => return None,
    };
    u8::try_from(value).ok()
}

/// Marks that only tell the direction, without changing that of other characters.
pub(crate) fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}')
}

/// Letters and signs written from right to left.
pub(crate) fn is_right_to_left(c: char) -> bool {
    matches!(c, '\u{0590}'..='\u{061B}' | '\u{061D}'..='\u{08FF}' | '\u{FB1D}'..='\u{FDFF}'
        | '\u{FE70}'..='\u{FEFE}' | '\u{10800}'..='\u{10FFF}' | '\u{1E800}'..='\u{1EFFF}')
}

/// Letters and signs of scripts in which a joiner or non-joiner changes the shape of letters.
pub(crate) fn takes_joiners(c: char) -> bool {
    matches!(c, '\u{0600}'..='\u{061B}' | '\u{061D}'..='\u{07FF}' | '\u{0840}'..='\u{08FF}'
        | '\u{0900}'..='\u{0DFF}' | '\u{0F00}'..='\u{109F}' | '\u{1700}'..='\u{180A}' | '\u{1810}'..='\u{18AF}'
        | '\u{1900}'..='\u{1CFF}' | '\u{A840}'..='\u{A8FF}' | '\u{A900}'..='\u{AADF}' | '\u{ABC0}'..='\u{ABFF}'
        | '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFE}' | '\u{11000}'..='\u{1193F}')
}

/// Letters of scripts without spaces between words, where a zero-width space marks a break.
pub(crate) fn takes_zero_space(c: char) -> bool {
    matches!(c, '\u{0E00}'..='\u{0EFF}' | '\u{0F00}'..='\u{0FFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}'
        | '\u{1950}'..='\u{19FF}' | '\u{1A20}'..='\u{1AAF}' | '\u{A9E0}'..='\u{A9FF}' | '\u{AA60}'..='\u{AADF}')
}

/// Characters that emoji are made of.
pub(crate) fn is_emoji(c: char) -> bool {
    matches!(c, '\u{A9}' | '\u{AE}' | '\u{203C}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2190}'..='\u{21FF}'
        | '\u{2300}'..='\u{23FF}' | '\u{24C2}' | '\u{25A0}'..='\u{27BF}' | '\u{2900}'..='\u{297F}'
        | '\u{2B00}'..='\u{2BFF}' | '\u{3030}' | '\u{303D}' | '\u{3297}' | '\u{3299}' | '\u{1F000}'..='\u{1FAFF}')
}

/// Skin tones, which come between an emoji and a joiner.
pub(crate) fn is_skin_tone(c: char) -> bool {
    matches!(c, '\u{1F3FB}'..='\u{1F3FF}')
}

/// Whether Unicode or a font registry has variants of `base` that `selector` chooses.
pub(crate) fn takes_selector(base: char, selector: char) -> bool {
    let ideograph = matches!(base, '\u{2E80}'..='\u{2FDF}' | '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{4DBF}'
        | '\u{4E00}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}');
    match selector {
        '\u{FE0E}' | '\u{FE0F}' => is_emoji(base) || ideograph,
        '\u{FE00}'..='\u{FE0D}' => {
            ideograph
                || matches!(base, '\u{1000}'..='\u{109F}' | '\u{2200}'..='\u{22FF}' | '\u{2A00}'..='\u{2AFF}'
                    | '\u{3000}'..='\u{303F}' | '\u{A840}'..='\u{A87F}' | '\u{FF00}'..='\u{FF0F}' | '\u{13000}'..='\u{143FF}')
        }
        '\u{E0100}'..='\u{E01EF}' => ideograph,
        '\u{180B}'..='\u{180D}' | '\u{180F}' => matches!(base, '\u{1820}'..='\u{18AF}'),
        _ => false,
    }
}

/// Characters that look like ASCII to a reader: full-width, mathematical and circled letters, odd spaces
/// and dashes. Worth asking the compatibility decomposition about.
pub(crate) fn may_fold(c: char) -> bool {
    matches!(c, '\u{A0}' | '\u{AA}' | '\u{B2}' | '\u{B3}' | '\u{B9}' | '\u{BA}' | '\u{2000}'..='\u{200A}'
        | '\u{2010}'..='\u{2015}' | '\u{202F}' | '\u{205F}' | '\u{2070}'..='\u{209C}' | '\u{2100}'..='\u{214F}'
        | '\u{2212}' | '\u{2460}'..='\u{24FF}' | '\u{3000}' | '\u{FE50}'..='\u{FE6B}' | '\u{FF01}'..='\u{FF5E}'
        | '\u{1D400}'..='\u{1D7FF}' | '\u{1F130}'..='\u{1F149}' | '\u{1FBF0}'..='\u{1FBF9}')
}

/// Dashes, which the compatibility decomposition leaves alone.
pub(crate) fn is_dash(c: char) -> bool {
    matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_character_is_unseen() {
        let ranges: [(u32, u32); 8] = [
            (0x200B, 0x200F),
            (0x202A, 0x202E),
            (0x2060, 0x2064),
            (0x2066, 0x2069),
            (0xFE00, 0xFE0F),
            (0xE0000, 0xE007F),
            (0xE0100, 0xE01EF),
            (0xFEFF, 0xFEFF),
        ];
        for code in ranges.into_iter().flat_map(|(low, high)| low..=high) {
            assert!(unseen(char::from_u32(code).unwrap()).is_some(), "{code:x}");
        }
        assert_eq!(unseen('\u{AD}'), Some(Unseen::ZeroWidth));
        for c in ['a', ' ', '\n', 'é', '\u{4E2D}', '\u{1F600}', '\u{2028}'] {
            assert_eq!(unseen(c), None, "{c:?}");
        }
    }

    #[test]
    fn smuggled_values_have_edges() {
        assert_eq!(tag_value('\u{E0020}'), Some(' '));
        assert_eq!(tag_value('\u{E007E}'), Some('~'));
        assert_eq!(tag_value('\u{E001F}'), None);
        assert_eq!(tag_value(CANCEL_TAG), None);
        assert_eq!(selector_value('\u{FE00}'), Some(0));
        assert_eq!(selector_value('\u{FE0F}'), Some(15));
        assert_eq!(selector_value('\u{E0100}'), Some(16));
        assert_eq!(selector_value('\u{E01EF}'), Some(255));
        assert_eq!(selector_value('a'), None);
    }
}
