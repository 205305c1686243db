use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::json;

use super::*;
use crate::top::{
    Model, Sort,
    scopes::{ScopeTable, tests::tables},
    tests::{model, press},
};

/// The answer to the question of `model`: a row of each of these numbers of sockets, and so many accept queues.
pub(in crate::top) fn answer(model: &Model, sockets: &[u64], queues: usize) -> Answer {
    let row = |(pid, &sockets)| HolderRow {
        sockets,
        oldest: Some(Duration::from_secs(11_030)),
        processes: Processes::new(Some((pid, "java")), 1),
        port: "8080".to_owned(),
        peer: "10.0.0.7:443".to_owned(),
        unit: "web.service".to_owned(),
    };
    let queue = QueueRow {
        waiting: 5,
        limit: Some(4),
        listener: "0.0.0.0:8081".to_owned(),
        processes: Processes::new(Some((4711, "stuck")), 1),
    };
    let holders = Holders {
        sockets: sockets.iter().sum(),
        rows: (100..).zip(sockets).map(row).collect(),
        queues: vec![queue; queues],
        ..Holders::default()
    };
    Answer { question: model.question().unwrap(), holders: Ok(holders) }
}

fn code(model: &mut Model, code: KeyCode) {
    model.press(KeyEvent::new(code, KeyModifiers::NONE));
}

fn shown(model: &Model) -> Option<u64> {
    Some(model.answer()?.holders.as_ref().ok()?.sockets)
}

fn scopes_view() -> Model {
    let mut model = model();
    press(&mut model, 'v');
    model.set_scopes(Some(Ok(tables())));
    model
}

fn marked(model: &Model) -> &str {
    model.marked_scope().map_or("", |(_, row)| &row.name)
}

#[test]
fn arrows_and_j_and_k_mark_a_state_from_close_wait_on() {
    let mut model = model();
    assert_eq!(model.marked_state(), State::CloseWait);
    press(&mut model, 'j');
    assert_eq!(model.marked_state(), State::LastAck);
    code(&mut model, KeyCode::Up);
    press(&mut model, 'k');
    assert_eq!(model.marked_state(), State::Close);
    for _ in 0..99 {
        code(&mut model, KeyCode::Down);
    }
    assert_eq!(model.marked_state(), State::Closing);
    for _ in 0..99 {
        press(&mut model, 'k');
    }
    assert_eq!(model.marked_state(), State::Established);
}

#[test]
fn the_marked_state_stays_when_the_order_changes() {
    let mut model = model();
    press(&mut model, 's');
    assert_eq!((model.sort(), model.marked_state()), (Sort::Count, State::CloseWait));
    // After ESTABLISHED, CLOSE_WAIT has most sockets.
    press(&mut model, 'k');
    assert_eq!(model.marked_state(), State::Established);
}

#[test]
fn the_first_scope_is_marked_until_another_one_is() {
    let mut model = scopes_view();
    assert_eq!(marked(&model), "shop/web-7f9c");
    press(&mut model, 's');
    assert_eq!(marked(&model), "host", "the first in the new order");
    press(&mut model, 'j');
    assert_eq!(marked(&model), "shop/db-0");
    for _ in 0..6 {
        press(&mut model, 's');
        assert_eq!(marked(&model), "shop/db-0");
    }
    for _ in 0..9 {
        press(&mut model, 'j');
    }
    assert_eq!(model.marked_scope().unwrap().0, 3, "the last one");
    press(&mut model, 'v');
    assert_eq!(marked(&model), "443", "another kind");
}

#[test]
fn when_the_marked_scope_ends_the_first_one_is_marked() {
    let mut model = scopes_view();
    press(&mut model, 'j');
    assert_eq!(marked(&model), "host");
    let mut without = tables();
    without[0].rows.retain(|row| row.name != "host");
    model.set_scopes(Some(Ok(without)));
    assert_eq!(marked(&model), "shop/web-7f9c");
    model.set_scopes(Some(Ok(tables())));
    assert_eq!(marked(&model), "host", "it is there again");
    model.set_scopes(Some(Ok(Vec::new())));
    press(&mut model, 'j');
    assert_eq!(model.marked_scope(), None);
}

#[test]
fn w_asks_for_the_marked_state_of_the_own_namespace_and_closes_again() {
    let mut model = model();
    assert_eq!((model.question(), model.wanted_holders()), (None, None));
    press(&mut model, 'w');
    let question = Question { state: State::CloseWait, place: Place::Own };
    assert_eq!(model.wanted_holders(), Some(question));
    assert!(model.waits() && !model.shows_scopes() && !model.shows_details());
    let answer = answer(&model, &[30, 7], 0);
    model.set_holders(Some(answer));
    assert_eq!(shown(&model), Some(37));
    assert!(!model.waits() && model.wanted_holders().is_some(), "it is read again");
    press(&mut model, 'w');
    assert_eq!(model.wanted_holders(), None);
    press(&mut model, 'w');
    code(&mut model, KeyCode::Esc);
    assert!(model.holders_view().is_none());
}

#[test]
fn escape_closes_the_help_before_the_view() {
    let mut model = model();
    press(&mut model, 'w');
    press(&mut model, '?');
    code(&mut model, KeyCode::Esc);
    assert!(!model.help() && model.holders_view().is_some());
}

#[test]
fn w_asks_for_the_marked_scope() {
    let scope = |name: &str, inode: Option<u64>| {
        let netns = inode.map(|inode| {
            json!({ "inode": inode, "kind": "pod", "namespace": "", "pod": "", "pod_uid": "",
                "container": "", "cgroup": "" })
        });
        json!({ "name": name, "netns": netns, "connections": { "close_wait": 1 }, "total": 1 })
    };
    let kinds = [
        json!({ "kind": "netns", "scopes": [scope("a", Some(7)), scope("other", None)] }),
        json!({ "kind": "cgroup", "scopes": [scope("/a.slice", None), scope("none", None)] }),
        json!({ "kind": "port", "scopes": [scope("443", None), scope("other", None)] }),
    ];
    let json = serde_json::from_value(json!({ "kinds": kinds })).unwrap();
    let mut model = model();
    let mut places = Vec::new();
    for _ in 0..3 {
        press(&mut model, 'v');
        model.set_scopes(Some(Ok(ScopeTable::all(&json))));
        for _ in 0..2 {
            press(&mut model, 'w');
            places.push(model.question().unwrap().place);
            press(&mut model, 'w');
            press(&mut model, 'j');
        }
    }
    assert_eq!(
        places,
        [
            Place::Netns { name: "a".to_owned(), inode: 7 },
            Place::Unknown("other".to_owned()),
            Place::Cgroup("/a.slice".to_owned()),
            Place::Unknown("none".to_owned()),
            Place::Port(443),
            Place::Unknown("other".to_owned()),
        ]
    );
    press(&mut model, 'w');
    assert_eq!(model.wanted_holders(), None, "this cannot be read");
    assert!(!model.waits() && model.wants_scopes());
}

#[test]
fn brackets_and_arrows_ask_for_another_state() {
    let mut model = model();
    press(&mut model, ']');
    assert_eq!(model.marked_state(), State::CloseWait, "only in the view of processes");
    press(&mut model, 'w');
    let first = answer(&model, &[3], 0);
    model.set_holders(Some(first));
    press(&mut model, ']');
    assert_eq!(model.question().unwrap().state, State::LastAck);
    assert_eq!(shown(&model), None, "an answer to another question");
    code(&mut model, KeyCode::Left);
    assert_eq!(shown(&model), Some(3));
    code(&mut model, KeyCode::Right);
    press(&mut model, '[');
    press(&mut model, '[');
    press(&mut model, 'w');
    assert_eq!(model.marked_state(), State::Close, "the marker is there too");
}

#[test]
fn the_list_scrolls_to_its_last_line_and_stays_within_a_shorter_one() {
    let mut model = model();
    press(&mut model, 'w');
    let long = answer(&model, &[1; 5], 2);
    model.set_holders(Some(long));
    let scrolled = |model: &Model| model.holders_view().unwrap().scrolled;
    for _ in 0..99 {
        press(&mut model, 'j');
    }
    assert_eq!(scrolled(&model), 7);
    press(&mut model, 'k');
    assert_eq!(scrolled(&model), 6);
    let short = answer(&model, &[1, 2], 0);
    model.set_holders(Some(short));
    assert_eq!(scrolled(&model), 1);
    press(&mut model, ']');
    assert_eq!(scrolled(&model), 0);
    assert_eq!(model.marked_state(), State::LastAck);
}

#[test]
fn a_paused_view_keeps_its_answer_and_reads_nothing() {
    let mut model = model();
    press(&mut model, 'w');
    let before = answer(&model, &[3], 0);
    model.set_holders(Some(before));
    press(&mut model, ' ');
    assert_eq!(model.wanted_holders(), None);
    model.set_holders(None);
    assert_eq!(shown(&model), Some(3));
    // Another state has not been read yet.
    press(&mut model, ']');
    assert!(model.wanted_holders().is_some() && model.waits());
    let other = answer(&model, &[9], 0);
    model.set_holders(Some(other));
    assert_eq!((shown(&model), model.wanted_holders()), (Some(9), None));
    press(&mut model, ' ');
    assert!(model.wanted_holders().is_some(), "it is read again");
}

#[test]
fn v_and_d_lead_from_the_processes_to_the_scopes_and_the_details() {
    let mut model = scopes_view();
    press(&mut model, 'w');
    press(&mut model, 'v');
    assert_eq!(marked(&model), "shop/web-7f9c", "the kind from before");
    press(&mut model, 'w');
    press(&mut model, 'd');
    assert!(model.shows_details());
    press(&mut model, 'w');
    let place = Place::Unknown("shop/web-7f9c".to_owned());
    assert_eq!(model.question().unwrap().place, place, "its inode number is not known");
    press(&mut model, 'w');
    assert!(model.shows_details());
    press(&mut model, 'w');
    press(&mut model, 'v');
    assert!(model.shows_scopes());
}

#[test]
fn commands_and_problems_cannot_control_the_terminal() {
    let evil = "\u{1b}[2J";
    assert_eq!(Processes::new(Some((7, evil)), 3).first, "7 \\u{1b}[2J");
    assert_eq!(Processes::new(Some((7, evil)), 3).others, 2);
    assert_eq!(Processes::new(None, 0), Processes { first: "not visible".to_owned(), others: 0 });
    let mut model = model();
    press(&mut model, 'w');
    let question = model.question().unwrap();
    model.set_holders(Some(Answer { question, holders: Err(evil.to_owned()) }));
    assert_eq!(model.answer().unwrap().holders, Err("\\u{1b}[2J".to_owned()));
}
