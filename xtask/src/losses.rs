//! What the storms report as lost, as a table.

use std::fmt::Write as _;

pub(crate) use tcpstat_loss::Loss;

/// A table in Markdown, each loss with the name of its kernel; empty if there is no loss.
pub(crate) fn table<'a>(losses: impl IntoIterator<Item = (&'a str, &'a Loss)>) -> String {
    let mut text = String::new();
    for (kernel, loss) in losses {
        if text.is_empty() {
            text.push_str("| kernel | program | events | lost | counted | healed after |\n");
            text.push_str("| --- | --- | ---: | ---: | ---: | ---: |\n");
        }
        let Loss { program, events, lost, counted, healed, .. } = loss;
        let unit = if healed.is_some() { " s" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {kernel} | `{program}` | {events} | {lost} | {counted} | {}{unit} |",
            loss.healed_seconds()
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        "loss: kernel=6.1.0-56 program=tp_btf events=100 lost=2 counted=1 healed_seconds=0.3\r";

    #[test]
    fn a_loss_is_a_row() {
        let loss = Loss::parse(LINE).unwrap();
        let text = table([("6.1.192", &loss)]);
        assert_eq!(text.lines().last(), Some("| 6.1.192 | `tp_btf` | 100 | 2 | 1 | 0.3 s |"));
        let never = Loss { healed: None, ..loss };
        assert!(table([("6.1.192", &never)]).ends_with("| 1 | never |\n"));
    }

    #[test]
    fn without_a_loss_there_is_no_table() {
        assert_eq!(table([]), "");
    }
}
