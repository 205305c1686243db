//! Numbers as text, in columns of limited width.

/// With commas between thousands if they fit, else without, else with a letter (k, M, G, T).
pub(super) fn count(number: u64, width: usize) -> String {
    let plain = number.to_string();
    let grouped = grouped(&plain);
    if grouped.len() <= width {
        grouped
    } else if plain.len() <= width {
        plain
    } else {
        with_letter(to_f64(number))
    }
}

/// Like [`count`], with a sign if it is not 0.
pub(super) fn change(number: i64, width: usize) -> String {
    let size = count(number.unsigned_abs(), width.saturating_sub(1));
    match number {
        0 => size,
        1.. => format!("+{size}"),
        _ => format!("-{size}"),
    }
}

/// With one decimal below ten.
pub(super) fn rate(per_second: f64, width: usize) -> String {
    if per_second <= 0.0 {
        "0".to_owned()
    } else if per_second < 0.1 {
        "<0.1".to_owned()
    } else if per_second < 9.95 {
        format!("{per_second:.1}")
    } else if per_second < 999_999.5 {
        count(rounded(per_second) as u64, width)
    } else {
        with_letter(per_second)
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn with_letter(number: f64) -> String {
    let mut number = number;
    let mut letters = ["k", "M", "G", "T"].into_iter();
    let mut letter = "";
    while number >= 999.5
        && let Some(next) = letters.next()
    {
        number /= 1000.0;
        letter = next;
    }
    if number < 9.95 { format!("{number:.1}{letter}") } else { format!("{number:.0}{letter}") }
}

#[expect(clippy::cast_precision_loss, reason = "at most three digits are shown")]
pub(super) fn to_f64(number: u64) -> f64 {
    number as f64
}

/// `number` is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the numbers are between 0 and 1,000,000"
)]
pub(super) fn rounded(number: f64) -> usize {
    number.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_gets_commas_no_commas_or_a_letter_by_its_width() {
        assert_eq!(count(37, 6), "37");
        assert_eq!(count(1_234_567, 9), "1,234,567");
        assert_eq!(count(1_234_567, 8), "1234567");
        assert_eq!(count(1_234_567, 6), "1.2M");
        assert_eq!(count(999_999_999, 6), "1.0G");
        assert_eq!(count(0, 1), "0");
    }

    #[test]
    fn a_change_has_a_sign() {
        assert_eq!(change(0, 6), "0");
        assert_eq!(change(12, 6), "+12");
        assert_eq!(change(-1_234, 6), "-1,234");
        assert_eq!(change(-1_234_567, 6), "-1.2M");
    }

    #[test]
    fn a_rate_below_ten_has_a_decimal() {
        assert_eq!(rate(0.0, 7), "0");
        assert_eq!(rate(0.02, 7), "<0.1");
        assert_eq!(rate(0.5, 7), "0.5");
        assert_eq!(rate(9.99, 7), "10");
        assert_eq!(rate(18_244.4, 7), "18,244");
        assert_eq!(rate(2_500_000.0, 7), "2.5M");
    }
}
