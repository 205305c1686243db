//! What the storms say they lost, as a table.

use std::fmt::Write as _;

/// The fields of a row, as a storm names them.
const FIELDS: [&str; 5] = ["program", "events", "lost", "counted", "healed_seconds"];

/// What one storm lost, as it tells it in a line of its own:
/// `loss: kernel=6.1.0-56 program=tp_btf events=100 lost=0 counted=0 healed_seconds=0.3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loss {
    /// The kernel's own name for itself.
    pub(crate) kernel: String,
    row: [String; FIELDS.len()],
}

impl Loss {
    /// Reads such a line; `None` for any other.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let fields = line.trim().strip_prefix("loss: ")?;
        let field = |name: &str| {
            let mut fields = fields.split_whitespace().filter_map(|field| field.split_once('='));
            fields.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
        };
        let row = FIELDS.into_iter().map(field).collect::<Option<Vec<_>>>()?.try_into().ok()?;
        Some(Self { kernel: field("kernel")?, row })
    }
}

/// A table in Markdown, each loss with the name of its kernel; nothing for none.
pub(crate) fn table<'a>(losses: impl IntoIterator<Item = (&'a str, &'a Loss)>) -> String {
    let mut text = String::new();
    for (kernel, Loss { row: [program, events, lost, counted, healed], .. }) in losses {
        if text.is_empty() {
            text.push_str("| kernel | program | events | lost | counted | healed after |\n");
            text.push_str("| --- | --- | ---: | ---: | ---: | ---: |\n");
        }
        let unit = if healed == "never" { "" } else { " s" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| {kernel} | `{program}` | {events} | {lost} | {counted} | {healed}{unit} |"
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
        assert_eq!(loss.kernel, "6.1.0-56");
        let text = table([("6.1.192", &loss)]);
        assert_eq!(text.lines().last(), Some("| 6.1.192 | `tp_btf` | 100 | 2 | 1 | 0.3 s |"));
        let never = Loss::parse(&LINE.replace("0.3", "never")).unwrap();
        assert!(table([("6.1.192", &never)]).ends_with("| 1 | never |\n"));
    }

    #[test]
    fn without_a_loss_there_is_no_table() {
        assert_eq!(Loss::parse("test result: ok"), None);
        assert_eq!(Loss::parse("loss: kernel=6.1.0-56"), None);
        assert_eq!(table([]), "");
    }
}
