//! Numbers as they are written in columns: no wider than there is room.

/// With commas between thousands where there is room, else without, else with a letter for them.
pub(super) fn count(number: u64, width: usize) -> String {
    let plain = number.to_string();
    let grouped = grouped(&plain);
    if grouped.len() <= width {
        grouped
    } else if plain.len() <= width {
        plain
    } else {
        with_letter(precise(number))
    }
}

/// The same with its sign; nothing that has not changed has one.
pub(super) fn change(number: i64, width: usize) -> String {
    let size = count(number.unsigned_abs(), width.saturating_sub(1));
    match number {
        0 => size,
        1.. => format!("+{size}"),
        _ => format!("-{size}"),
    }
}

/// How many in a second: one decimal below ten.
pub(super) fn rate(per_second: f64, width: usize) -> String {
    if per_second <= 0.0 {
        "0".to_owned()
    } else if per_second < 0.1 {
        "<0.1".to_owned()
    } else if per_second < 9.95 {
        format!("{per_second:.1}")
    } else if per_second < 999_999.5 {
        count(whole(per_second) as u64, width)
    } else {
        with_letter(per_second)
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
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

/// For what is drawn or rounded.
#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
pub(super) fn precise(number: u64) -> f64 {
    number as f64
}

/// What is not below 0, rounded.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is shown is between 0 and 1,000,000"
)]
pub(super) fn whole(number: f64) -> usize {
    number.round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_as_plain_as_its_room_allows() {
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
    fn a_rate_has_a_decimal_where_it_tells_something() {
        assert_eq!(rate(0.0, 7), "0");
        assert_eq!(rate(0.02, 7), "<0.1");
        assert_eq!(rate(0.5, 7), "0.5");
        assert_eq!(rate(9.99, 7), "10");
        assert_eq!(rate(18_244.4, 7), "18,244");
        assert_eq!(rate(2_500_000.0, 7), "2.5M");
    }
}
