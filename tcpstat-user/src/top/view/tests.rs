use std::time::Duration;

use ratatui::{
    Terminal,
    backend::TestBackend,
    style::{Color, Modifier},
};

use super::*;
use crate::{
    states::{Family, state_word},
    top::{
        Status, TracerStatus,
        numbers::Update,
        tests::{model, press, update},
    },
};

const COLOURED: Theme = Theme { colours: true, unicode: true };

pub(super) const SIZES: [(u16, u16); 5] = [(120, 40), (80, 24), (60, 16), (52, 13), (40, 10)];

fn backend(model: &Model, (width, height): (u16, u16), theme: Theme) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, theme)).unwrap();
    terminal.backend().clone()
}

pub(super) fn lines(model: &Model, size: (u16, u16)) -> Vec<String> {
    let backend = backend(model, size, COLOURED);
    let symbols: Vec<_> =
        backend.buffer().content().iter().map(ratatui::buffer::Cell::symbol).collect();
    symbols.chunks(size.0.into()).map(<[&str]>::concat).collect()
}

/// The word that follows `word`.
fn after<'a>(lines: &'a [String], word: &str) -> Option<&'a str> {
    let line = lines.iter().find(|line| line.contains(&format!("{word} ")))?;
    line.split_once(word)?.1.split_whitespace().next()
}

#[test]
fn every_state_has_its_number_at_every_size_down_to_40_by_10() {
    let model = model();
    for size in SIZES {
        let lines = lines(&model, size);
        for row in model.rows() {
            let expected = row.sockets.to_string();
            let shown = after(&lines, state_word(row.state));
            assert_eq!(shown, Some(expected.as_str()), "{size:?} {lines:#?}");
        }
        assert_eq!(after(&lines, "close_wait"), Some("37"));
    }
}

#[test]
fn no_view_is_too_small_to_be_drawn() {
    let mut model = model();
    model.set_message(Some("snapshots only".to_owned()));
    for help in [false, true] {
        for size in [(0, 0), (1, 1), (3, 40), (200, 1), (39, 9), (20, 4)] {
            let _ = backend(&model, size, COLOURED);
        }
        assert_eq!(model.help(), help);
        press(&mut model, '?');
    }
}

#[test]
fn the_header_has_the_host_the_sockets_the_time_and_the_tracer() {
    let header = lines(&model(), (120, 40))[..2].join("");
    for part in ["web-1", "1,019 sockets", "22:15:02 UTC", "tp_btf", "consistent", "3s ago"] {
        assert!(header.contains(part), "{part}: {header}");
    }
    let narrow = &lines(&model(), (40, 10))[0];
    for part in ["web-1", "22:15:02", "tp_btf", "consistent"] {
        assert!(narrow.contains(part), "{part}: {narrow}");
    }
}

#[test]
fn changes_and_rates_are_shown_beside_the_number() {
    let lines = lines(&model(), (80, 24));
    let row: Vec<_> =
        lines.iter().find(|line| line.starts_with("close_wait")).unwrap().split(' ').collect();
    let cells: Vec<_> = row.into_iter().filter(|cell| !cell.is_empty()).collect();
    assert_eq!(cells[..5], ["close_wait", "37", "+37", "10", "5.0"]);
    let first = lines.iter().find(|line| line.contains('→')).unwrap();
    assert!(first.contains("established → close_wait") && first.contains("10/s"), "{first}");
}

#[test]
fn the_state_with_the_most_sockets_has_the_longest_bar_and_the_past_is_at_the_right() {
    let lines = lines(&model(), (120, 40));
    let line = |word: &str| lines.iter().find(|line| line.starts_with(word)).unwrap();
    let full = |word: &str| line(word).matches('█').count();
    assert!(full("established") > 10 && full("established") > full("close_wait"), "{lines:#?}");
    assert!(line("listen").contains('▏'), "one socket is visible: {}", line("listen"));
    assert!(line("close_wait").ends_with("▁█"), "{}", line("close_wait"));
}

#[test]
fn the_footer_shows_the_current_choices() {
    let mut model = model();
    press(&mut model, 's');
    press(&mut model, 'f');
    press(&mut model, '+');
    press(&mut model, ' ');
    let lines = lines(&model, (80, 24));
    let keys = lines.last().unwrap();
    for part in ["sort: count", "family: ipv4", "every 2s"] {
        assert!(keys.contains(part), "{part}: {keys}");
    }
    assert!(lines[0].contains("PAUSED"), "{}", lines[0]);
    assert!(lines[3].starts_with("established"), "{lines:#?}");
    assert_eq!(after(&lines, "close_wait"), Some("30"));
}

#[test]
fn the_help_explains_every_key_of_the_footer() {
    let mut model = model();
    press(&mut model, '?');
    for size in SIZES {
        let lines = lines(&model, size).join("\n");
        for part in ["quit", "pause and continue", "view:", "sort:", "family:", "less often"] {
            assert!(lines.contains(part), "{size:?} {part}: {lines}");
        }
    }
    press(&mut model, '?');
    assert!(!lines(&model, (80, 24)).join("").contains("pause and continue"));
}

#[test]
fn without_a_tracer_the_view_says_so_and_has_no_rates() {
    let status = Status { snapshot_age: Some(Duration::from_secs(1)), ..Status::default() };
    let mut model = Model::new(Duration::from_secs(1));
    for second in [1, 2] {
        let Update { samples, .. } = update(second, &[(Family::Ipv4, State::Listen, second)], 0);
        let samples = samples
            .iter()
            .map(|sample| {
                let shown = crate::states::PerState::from_fn(|family, state| {
                    sample.connections(family, state)
                });
                crate::history::Sample::new(sample.at, &shown, None)
            })
            .collect();
        model.add(Update { samples, status: status.clone() });
    }
    model.set_message(Some(format!("no tracer runs: {} grant CAP_BPF", "reason, ".repeat(12))));
    let lines = lines(&model, (80, 24));
    assert!(lines[1].starts_with("snapshots only, taken 1s ago"), "{}", lines[1]);
    let row = lines.iter().find(|line| line.starts_with("listen")).unwrap();
    let cells: Vec<_> = row.split_whitespace().take(5).collect();
    assert_eq!(cells, ["listen", "2", "+1", "-", "-"]);
    assert!(lines.join("").contains("without a tracer"), "{lines:#?}");
    assert!(lines.join(" ").contains("grant CAP_BPF"), "the remedy at the end: {lines:#?}");
}

#[test]
fn a_difference_from_the_kernel_and_missed_events_are_shown_in_words() {
    let mut model = model();
    let mut status = model.shown().status.clone();
    let tracer = status.tracer.unwrap();
    status.tracer = Some(TracerStatus { consistent: false, events_missed: 7, ..tracer });
    model.add(Update { samples: Vec::new(), status });
    let header = &lines(&model, (120, 40))[1];
    assert!(header.contains("INCONSISTENT") && header.contains("7 events missed"), "{header}");
}

/// Every text has its maximum length: names, numbers, times.
fn crowded() -> Model {
    let mut model = Model::new(Duration::from_secs(1));
    let millions = |state| (Family::Ipv4, state, 12_345_678);
    let sockets = crate::states::State::ALL.map(millions);
    model.add(update(100, &sockets, 0));
    model.add(update(102, &sockets, 2_400_000));
    let tracer = TracerStatus {
        program: "tracepoint".to_owned(),
        hooks: "timewait,requests".to_owned(),
        consistent: false,
        agreement_age: Some(Duration::from_secs(23 * 3600 + 59 * 60 + 59)),
        events_missed: 12_345_678_901,
    };
    let status = Status {
        host: "web-1".to_owned(),
        tracer: Some(tracer),
        snapshot_age: Some(Duration::from_secs(4)),
        ..Status::default()
    };
    model.add(Update { samples: Vec::new(), status });
    press(&mut model, ' ');
    model
}

#[test]
fn at_80_by_24_nothing_is_cut() {
    let lines = lines(&crowded(), (80, 24));
    let text = lines.join("\n");
    for part in [
        "web-1  135,802,458 sockets",
        "PAUSED",
        "22:15:02 UTC",
        "counting with tracepoint, hooks timewait and requests",
        "INCONSISTENT: agreed with the kernel 23h 59m ago",
        "12345678901 events missed",
        "established → close_wait",
        "close_wait → last_ack",
        "1.2M/s",
        "every 1s",
        "? help",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('…'), "{text}");
}

#[test]
fn a_narrow_view_leaves_out_the_least_important_parts() {
    // Each with the minimum width of a view that has it.
    let parts =
        [(40, "INCONSISTENT"), (40, "missed"), (60, "tracepoint"), (80, "agreed"), (80, "hooks")];
    for (width, height) in SIZES {
        let text = lines(&crowded(), (width, height)).join("\n");
        for (min_width, part) in parts {
            assert!(width < min_width || text.contains(part), "{width} {part}: {text}");
        }
    }
}

#[test]
fn a_long_host_name_is_cut_and_the_numbers_are_not() {
    let mut model = model();
    let mut status = model.shown().status.clone();
    status.host = "h".repeat(64);
    status.exporter = Some(format!("http://{}:10048", "e".repeat(100)));
    model.add(Update { samples: Vec::new(), status });
    for size in [(120, 40), (80, 24), (60, 16)] {
        let first = &lines(&model, size)[0];
        assert!(first.contains("hhhhh") && first.contains('…'), "{first}");
        assert!(first.contains("1,019 sockets") && first.contains("22:15:02"), "{first}");
    }
}

#[test]
fn text_from_a_server_cannot_control_the_terminal() {
    let mut model = model();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\n\tx";
    let mut status = model.shown().status.clone();
    status.host = evil.to_owned();
    status.exporter = Some(evil.to_owned());
    if let Some(tracer) = &mut status.tracer {
        tracer.program = evil.to_owned();
        tracer.hooks = evil.to_owned();
    }
    model.set_message(Some(evil.to_owned()));
    for problem in [None, Some(evil.repeat(1_000))] {
        let status = Status { problem, ..status.clone() };
        model.add(Update { samples: Vec::new(), status });
        let shown = model.shown().status.clone();
        assert!(shown.problem.is_none_or(|problem| problem.chars().count() < 1_100));
        for size in SIZES {
            let text = lines(&model, size).join("");
            assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
            assert!(text.contains("\\u{1b}"), "it is visible: {text}");
        }
    }
}

#[test]
fn before_the_first_numbers_the_view_says_what_it_waits_for() {
    let model = Model::new(Duration::from_secs(1));
    for size in SIZES {
        assert!(lines(&model, size).join("").contains("taking the first snapshot"), "{size:?}");
    }
    let mut model = model;
    let status = Status { problem: Some("connection refused".to_owned()), ..Status::default() };
    model.add(Update { samples: Vec::new(), status });
    assert!(lines(&model, (40, 10)).join("").contains("connection refused"));
}

#[test]
fn the_theme_decides_whether_there_are_colours_and_they_are_common_ones() {
    let colours = |theme| {
        let backend = backend(&model(), (120, 40), theme);
        let mut colours: Vec<_> =
            backend.buffer().content().iter().flat_map(|cell| [cell.fg, cell.bg]).collect();
        colours.dedup();
        colours
    };
    assert_eq!(colours(Theme { colours: false, unicode: true }), [Color::Reset]);
    let seen = colours(COLOURED);
    assert!(seen.contains(&Color::Cyan), "{seen:?}");
    assert!(seen.iter().all(|colour| matches!(colour, Color::Reset | Color::Cyan | Color::Yellow)));
}

#[test]
fn a_state_without_sockets_is_faint() {
    let backend = backend(&model(), (80, 24), COLOURED);
    let faint = |word: &str| {
        let lines = lines(&model(), (80, 24));
        let y = lines.iter().position(|line| line.starts_with(word)).unwrap();
        let cell = backend.buffer().cell((0, u16::try_from(y).unwrap())).unwrap();
        cell.modifier.contains(Modifier::DIM)
    };
    assert!(faint("syn_sent") && !faint("close_wait") && !faint("listen"));
}

#[test]
fn without_unicode_only_ascii_is_drawn() {
    let theme = Theme { colours: true, unicode: false };
    let mut model = model();
    for help in [false, true] {
        let backend = backend(&model, (120, 40), theme);
        let symbols: String =
            backend.buffer().content().iter().map(ratatui::buffer::Cell::symbol).collect();
        assert!(symbols.is_ascii(), "{help}: {symbols}");
        assert!(help || symbols.contains("established > close_wait"), "{symbols}");
        press(&mut model, '?');
    }
}
