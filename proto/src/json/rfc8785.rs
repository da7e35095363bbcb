//! RFC 8785 (JSON Canonicalization Scheme): what two implementations that know nothing of each
//! other hash alike. Numbers are doubles there, so neighbouring 64-bit integers become equal; it
//! serves for tool definitions, never for arguments.

use super::node::{Member, Node, Value};
use super::text::quote;

impl Node {
    /// The text of RFC 8785: members sorted by the UTF-16 code units of their names, numbers as
    /// ECMAScript writes them, no white space.
    #[must_use]
    pub fn rfc8785(&self) -> String {
        let mut out = String::new();
        write(&mut out, self);
        out
    }
}

fn write(out: &mut String, node: &Node) {
    match &node.value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        // The scanner takes only what a double holds.
        Value::Number(number) => out.push_str(&number_text(number.as_f64().unwrap_or_default())),
        Value::String(text) => quote(out, text),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut order: Vec<&Member> = members.iter().collect();
            order.sort_by(|a, b| a.key.encode_utf16().cmp(b.key.encode_utf16()));
            out.push('{');
            for (index, member) in order.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                quote(out, &member.key);
                out.push(':');
                write(out, &member.value);
            }
            out.push('}');
        }
    }
}

/// `Number::toString` of ECMA-262: the fewest digits that give the double back.
fn number_text(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    // The fewest digits, and of two that are equally near the even ones, which `{:e}` does not do.
    let text = serde_json::to_string(&value.abs()).unwrap_or_default();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{fraction}");
    let digits = all.trim_start_matches('0');
    let leading_zeros = i32::try_from(all.len() - digits.len()).unwrap_or_default();
    let whole = i32::try_from(whole.len()).unwrap_or_default();
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let sign = if value < 0.0 { "-" } else { "" };
    format!("{sign}{}", placed(digits.trim_end_matches('0'), whole + exponent - leading_zeros))
}

/// `digits` with the decimal point after the first `point` of them.
fn placed(digits: &str, point: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    if (1..=21).contains(&point) {
        if count <= point {
            return format!("{digits}{}", zeros(point - count));
        }
        let (whole, rest) = digits.split_at(usize::try_from(point).unwrap_or_default());
        return format!("{whole}.{rest}");
    }
    if (-5..=0).contains(&point) {
        return format!("0.{}{digits}", zeros(-point));
    }
    let exponent = point - 1;
    let sign = if exponent < 0 { '-' } else { '+' };
    let (first, rest) = digits.split_at(1);
    let dot = if rest.is_empty() { "" } else { "." };
    format!("{first}{dot}{rest}e{sign}{}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::scan;

    fn of(text: &str) -> String {
        scan(text.as_bytes()).unwrap().rfc8785()
    }

    #[test]
    fn numbers_are_those_of_appendix_b() {
        let table: [(u64, &str); 20] = [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ];
        for (bits, expected) in table {
            let value = f64::from_bits(bits);
            assert_eq!(number_text(value), expected);
        }
    }

    #[test]
    fn the_sample_of_section_3_2() {
        let text = r#"{
            "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]
        }"#;
        assert_eq!(
            of(text),
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#
        );
    }

    #[test]
    fn members_are_sorted_by_utf16_and_not_by_utf8() {
        // U+1F600 is d83d de00 in UTF-16, before U+FB33.
        let text = "{\"\u{fb33}\":1,\"\u{1f600}\":2,\"\u{20ac}\":3,\"\\r\":4,\"1\":5,\"\u{80}\":6,\"\u{f6}\":7}";
        assert_eq!(
            of(text),
            "{\"\\r\":4,\"1\":5,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":3,\"\u{1f600}\":2,\"\u{fb33}\":1}"
        );
    }
}
