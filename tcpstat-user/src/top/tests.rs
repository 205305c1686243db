use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{numbers::Update, *};
use crate::{
    history::{Moment, Sample},
    states::{Family, PerState, State},
    transitions::Transitions,
};

const V4: Family = Family::Ipv4;
const V6: Family = Family::Ipv6;

/// An update in that second of uptime, with `sockets` by family and state; peers have closed `closed`
/// connections since the start.
pub(super) fn update(second: u64, sockets: &[(Family, State, u64)], closed: u64) -> Update {
    let at = Moment { unix_ms: 1_700_000_000_000 + second * 1_000, uptime_ms: second * 1_000 };
    let mut connections = PerState::default();
    for &(family, state, count) in sockets {
        connections[(family, state)] = count;
    }
    let mut transitions = Transitions::default();
    transitions.add(V4, State::Established, State::CloseWait, closed);
    transitions.add(V6, State::CloseWait, State::LastAck, closed / 2);
    let sample = Sample::new(at, &connections, Some(&transitions));
    let tracer = TracerStatus {
        program: "tp_btf".to_owned(),
        hooks: "timewait,requests".to_owned(),
        consistent: true,
        agreement_age: Some(Duration::from_secs(3)),
        events_missed: 0,
    };
    let status = Status {
        host: "web-1".to_owned(),
        tracer: Some(tracer),
        snapshot_age: Some(Duration::from_secs(4)),
        ..Status::default()
    };
    Update { samples: vec![sample], status }
}

/// Two seconds in which peers closed 10 connections per second.
pub(super) fn model() -> Model {
    let mut model = Model::new(Duration::from_secs(1));
    let before = [(V4, State::Established, 1_000), (V6, State::Listen, 2)];
    let after = [
        (V4, State::Established, 980),
        (V4, State::CloseWait, 30),
        (V6, State::CloseWait, 7),
        (V6, State::Listen, 2),
    ];
    model.add(update(100, &before, 0));
    model.add(update(102, &after, 20));
    model
}

pub(super) fn press(model: &mut Model, key: char) {
    let flow = model.press(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE));
    assert_eq!(flow, Flow::Continue, "{key}");
}

fn row(model: &Model, state: State) -> StateRow {
    model.rows().into_iter().find(|row| row.state == state).unwrap()
}

#[test]
fn a_row_has_the_sockets_their_change_and_the_rates() {
    let model = model();
    assert_eq!(
        row(&model, State::CloseWait),
        StateRow {
            state: State::CloseWait,
            sockets: 37,
            change: 37,
            peak: 37,
            arrivals: Some(10.0),
            departures: Some(5.0),
        }
    );
    assert_eq!(row(&model, State::Established).change, -20);
    assert_eq!(row(&model, State::Established).departures, Some(10.0));
}

#[test]
fn a_state_that_full_sockets_do_not_enter_or_leave_has_no_rate() {
    for state in [State::TimeWait, State::Close] {
        let row = row(&model(), state);
        assert_eq!((row.arrivals, row.departures), (None, None), "{state:?}");
    }
}

#[test]
fn a_change_is_over_the_last_minute() {
    let mut model = Model::new(Duration::from_secs(1));
    for second in 0..=100 {
        model.add(update(second, &[(V4, State::TimeWait, second * 3)], 0));
    }
    assert_eq!(row(&model, State::TimeWait).change, 180);
}

#[test]
fn the_most_frequent_transition_is_first() {
    let model = model();
    let transitions = model.shown().most_frequent(None);
    let rates: Vec<_> = transitions.iter().map(|transition| transition.per_second).collect();
    assert_eq!(rates, [10.0, 5.0]);
    assert_eq!(model.shown().most_frequent(Some(V6)).len(), 1);
}

#[test]
fn a_paused_view_shows_new_samples_only_afterwards() {
    let mut model = model();
    press(&mut model, ' ');
    model.add(update(103, &[(V4, State::CloseWait, 99)], 99));
    assert_eq!(row(&model, State::CloseWait).sockets, 37);
    press(&mut model, 'p');
    assert_eq!(row(&model, State::CloseWait).sockets, 99);
    assert_eq!(model.shown().history.samples().len(), 3);
}

#[test]
fn the_states_are_sorted_by_the_kernels_order_by_count_and_by_rate() {
    let mut model = model();
    let first = |model: &Model| model.rows()[..3].iter().map(|row| row.state).collect::<Vec<_>>();
    assert_eq!(first(&model), State::ALL[..3]);
    press(&mut model, 's');
    assert_eq!(first(&model), [State::Established, State::CloseWait, State::Listen]);
    press(&mut model, 's');
    assert_eq!(first(&model), [State::CloseWait, State::Established, State::LastAck]);
    press(&mut model, 's');
    assert_eq!(first(&model), State::ALL[..3]);
}

#[test]
fn f_shows_one_family_or_both() {
    let mut model = model();
    let close_wait = |model: &Model| row(model, State::CloseWait).sockets;
    let shown = [(); 4].map(|()| {
        let shown = close_wait(&model);
        press(&mut model, 'f');
        shown
    });
    assert_eq!(shown, [37, 30, 7, 37]);
}

#[test]
fn the_interval_has_a_shortest_and_a_longest() {
    let mut model = Model::new(Duration::from_millis(700));
    press(&mut model, '+');
    assert_eq!(model.interval(), Duration::from_secs(1));
    press(&mut model, '-');
    assert_eq!(model.interval(), Duration::from_millis(500));
    for _ in 0..9 {
        press(&mut model, '-');
    }
    assert_eq!(model.interval(), Duration::from_millis(200));
    for _ in 0..9 {
        press(&mut model, '+');
    }
    assert_eq!(model.interval(), Duration::from_mins(1));
}

#[test]
fn q_and_control_c_quit_and_c_alone_does_not() {
    let mut model = model();
    let mut flow = |key, modifiers| model.press(KeyEvent::new(KeyCode::Char(key), modifiers));
    assert_eq!(flow('q', KeyModifiers::NONE), Flow::Quit);
    assert_eq!(flow('c', KeyModifiers::CONTROL), Flow::Quit);
    assert_eq!(flow('c', KeyModifiers::NONE), Flow::Continue);
    assert_eq!(flow('q', KeyModifiers::CONTROL), Flow::Continue);
}

#[test]
fn the_log_keeps_its_last_line() {
    use std::io::Write;
    let line = LastLogLine::default();
    assert_eq!(line.get(), None);
    let mut writer = line.clone();
    writer.write_all(b"snapshots only\n").unwrap();
    writer.write_all(b"\n").unwrap();
    assert_eq!(line.get().as_deref(), Some("snapshots only"));
}
