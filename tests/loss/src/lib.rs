//! What a program lost in a storm of connections, and the line that reports it.
//!
//! The storm test writes the line; `cargo xtask test` makes a table of the lines of all kernels. This crate
//! has no dependencies, so that xtask builds without those of the tests.

use std::fmt;
use std::time::Duration;

/// What one storm lost. Its line is
/// `loss: kernel=6.1.0-56 program=tp_btf events=100 lost=0 counted=0 healed_seconds=0.3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The kernel's release, as in `/proc/sys/kernel/osrelease`.
    pub kernel: String,
    /// The program that counted: `tp_btf` or `tracepoint`.
    pub program: String,
    /// Transitions that were counted.
    pub events: u64,
    /// Transitions that were not counted, at least.
    pub lost: u64,
    /// How many of these the kernel reports as skipped.
    pub counted: u64,
    /// From the end of the storm until all gauges are right, to a tenth of a second; `None` if they never
    /// are.
    pub healed: Option<Duration>,
}

/// What [`Loss::healed`] is in the line if it is `None`.
const NEVER: &str = "never";

impl Loss {
    /// Reads the line; `None` for any other line.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let fields = line.trim().strip_prefix("loss: ")?;
        let field = |name: &str| {
            let mut fields = fields.split_whitespace().filter_map(|field| field.split_once('='));
            fields.find_map(|(key, value)| (key == name).then_some(value))
        };
        let number = |name| field(name)?.parse().ok();
        Some(Self {
            kernel: field("kernel")?.to_owned(),
            program: field("program")?.to_owned(),
            events: number("events")?,
            lost: number("lost")?,
            counted: number("counted")?,
            healed: match field("healed_seconds")? {
                NEVER => None,
                seconds => Some(Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?),
            },
        })
    }

    /// [`Loss::healed`] in seconds, or `never`.
    #[must_use]
    pub fn healed_seconds(&self) -> String {
        self.healed.map_or(NEVER.to_owned(), |healed| format!("{:.1}", healed.as_secs_f64()))
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kernel, program, events, lost, counted, .. } = self;
        write!(
            formatter,
            "loss: kernel={kernel} program={program} events={events} lost={lost} \
             counted={counted} healed_seconds={}",
            self.healed_seconds()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loss(healed: Option<Duration>) -> Loss {
        Loss {
            kernel: "6.1.0-56".to_owned(),
            program: "tp_btf".to_owned(),
            events: 100,
            lost: 2,
            counted: 1,
            healed,
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for loss in [loss(Some(Duration::from_millis(300))), loss(None)] {
            // A serial console ends a line so.
            assert_eq!(Loss::parse(&format!("{loss}\r\n")), Some(loss));
        }
    }

    #[test]
    fn the_line_is_as_documented() {
        assert_eq!(
            loss(Some(Duration::from_millis(300))).to_string(),
            "loss: kernel=6.1.0-56 program=tp_btf events=100 lost=2 counted=1 healed_seconds=0.3"
        );
        assert!(loss(None).to_string().ends_with(" healed_seconds=never"));
    }

    #[test]
    fn other_lines_are_no_loss() {
        let line = loss(None).to_string();
        for other in [
            "test result: ok",
            "loss: kernel=6.1.0-56",
            &line.replace("events=100", "events=many"),
            &line.replace("never", "-1"),
        ] {
            assert_eq!(Loss::parse(other), None, "{other}");
        }
    }
}
