use std::time::Duration;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::*;
use crate::{
    history::{Moment, Sample},
    states::{Family, PerState, State},
    transitions::Transitions,
};

const V4: Family = Family::Ipv4;
const V6: Family = Family::Ipv6;

/// A look at sockets, by family and state, in that second of uptime; `closed` connections have been
/// closed by the other side since the start.
pub(super) fn look(second: u64, sockets: &[(Family, State, u64)], closed: u64) -> Update {
    let at = Moment { unix_ms: 1_700_000_000_000 + second * 1_000, uptime_ms: second * 1_000 };
    let mut connections = PerState::default();
    for &(family, state, count) in sockets {
        connections[(family, state)] = count;
    }
    let mut transitions = Transitions::default();
    transitions.add(V4, State::Established, State::CloseWait, closed);
    transitions.add(V6, State::CloseWait, State::LastAck, closed / 2);
    let sample = Sample::new(at, &connections, Some(&transitions));
    let tracing = Tracing {
        program: "tp_btf".to_owned(),
        hooks: "timewait,requests".to_owned(),
        consistent: true,
        agreed: Some(Duration::from_secs(3)),
        missed: 0,
    };
    let status = Status {
        host: "web-1".to_owned(),
        tracing: Some(tracing),
        listed: Some(Duration::from_secs(4)),
        ..Status::default()
    };
    Update { samples: vec![sample], status }
}

/// Two seconds in which 10 connections a second were closed by the other side.
pub(super) fn model() -> Model {
    let mut model = Model::new(Duration::from_secs(1));
    let before = [(V4, State::Established, 1_000), (V6, State::Listen, 2)];
    let after = [
        (V4, State::Established, 980),
        (V4, State::CloseWait, 30),
        (V6, State::CloseWait, 7),
        (V6, State::Listen, 2),
    ];
    model.take(look(100, &before, 0));
    model.take(look(102, &after, 20));
    model
}

pub(super) fn press(model: &mut Model, key: char) {
    let flow = model.press(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE));
    assert_eq!(flow, Flow::Stay, "{key}");
}

fn row(model: &Model, state: State) -> Row {
    model.rows().into_iter().find(|row| row.state == state).unwrap()
}

#[test]
fn a_row_tells_what_there_is_what_has_changed_and_what_comes_and_goes() {
    let model = model();
    assert_eq!(
        row(&model, State::CloseWait),
        Row {
            state: State::CloseWait,
            sockets: 37,
            change: 37,
            arrivals: Some(10.0),
            departures: Some(5.0),
        }
    );
    assert_eq!(row(&model, State::Established).change, -20);
    assert_eq!(row(&model, State::Established).departures, Some(10.0));
}

#[test]
fn what_makes_no_transition_of_full_sockets_has_no_rate() {
    for state in [State::TimeWait, State::Close] {
        let row = row(&model(), state);
        assert_eq!((row.arrivals, row.departures), (None, None), "{state:?}");
    }
}

#[test]
fn a_change_is_over_the_last_minute() {
    let mut model = Model::new(Duration::from_secs(1));
    for second in 0..=100 {
        model.take(look(second, &[(V4, State::TimeWait, second * 3)], 0));
    }
    assert_eq!(row(&model, State::TimeWait).change, 180);
}

#[test]
fn the_busiest_move_is_the_first() {
    let model = model();
    let moves: Vec<_> = model.shown().busiest(None).iter().map(|made| made.per_second).collect();
    assert_eq!(moves, [10.0, 5.0]);
    assert_eq!(model.shown().busiest(Some(V6)).len(), 1);
}

#[test]
fn pause_stops_the_numbers_and_what_came_meanwhile_is_shown_afterwards() {
    let mut model = model();
    press(&mut model, ' ');
    model.take(look(103, &[(V4, State::CloseWait, 99)], 99));
    assert_eq!(row(&model, State::CloseWait).sockets, 37);
    press(&mut model, 'p');
    assert_eq!(row(&model, State::CloseWait).sockets, 99);
    assert_eq!(model.shown().history.samples().len(), 3);
}

#[test]
fn the_states_are_sorted_by_their_order_by_count_and_by_rate() {
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
fn a_family_is_shown_by_itself() {
    let mut model = model();
    let close_wait = |model: &Model| row(model, State::CloseWait).sockets;
    let seen = [37, 30, 7, 37].map(|expected| {
        let seen = close_wait(&model);
        press(&mut model, 'f');
        (seen, expected)
    });
    assert!(seen.iter().all(|(seen, expected)| seen == expected), "{seen:?}");
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
    assert_eq!(flow('c', KeyModifiers::NONE), Flow::Stay);
    assert_eq!(flow('q', KeyModifiers::CONTROL), Flow::Stay);
}

#[test]
fn the_log_keeps_its_last_line() {
    use std::io::Write;
    let lines = LogLines::default();
    assert_eq!(lines.last(), None);
    let mut writer = lines.clone();
    writer.write_all(b"snapshots alone\n").unwrap();
    writer.write_all(b"\n").unwrap();
    assert_eq!(lines.last().as_deref(), Some("snapshots alone"));
}
