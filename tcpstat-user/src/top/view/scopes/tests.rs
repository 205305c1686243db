use serde_json::json;

use super::*;
use crate::top::{
    numbers::Update,
    scopes::tests::tables,
    tests::{model, press},
    view::tests::{SIZES, lines},
};

fn scopes_view() -> Model {
    let mut model = model();
    press(&mut model, 'v');
    model.set_scopes(Some(Ok(tables())));
    model
}

#[test]
fn each_scope_has_a_line_with_its_numbers() {
    let lines = lines(&scopes_view(), (80, 24));
    let at = lines.iter().position(|line| line.starts_with("NETNS")).unwrap();
    let cells = |line: usize| lines[at + line].split_whitespace().collect::<Vec<_>>();
    assert_eq!(
        cells(1),
        ["SCOPE", "ESTABLISHED", "CLOSE_WAIT", "TIME_WAIT", "SYN_SENT", "LISTEN", "TOTAL"]
    );
    assert_eq!(cells(2), ["shop/web-7f9c", "40", "1,200", "0", "0", "0", "1,241"]);
    assert_eq!(cells(3), ["host", "5,000", "2", "0", "0", "0", "5,003"]);
    assert_eq!(cells(5), ["new", "-", "-", "-", "-", "-", "-"]);
    let summary = &lines[at];
    for part in ["4 of 4 scopes", "3 cannot be counted", "7 found no room"] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
    assert!(!lines.join("").contains("TRANSITIONS"), "{lines:#?}");
}

#[test]
fn every_size_has_the_name_and_close_wait_of_the_worst_scope() {
    let model = scopes_view();
    for size in SIZES {
        let lines = lines(&model, size);
        let line = lines.iter().find(|line| line.starts_with("shop/web-7f9c")).unwrap();
        assert!(line.contains("1,200"), "{size:?}: {lines:#?}");
    }
    for size in [(1, 0), (1, 1), (3, 40), (200, 1), (39, 9), (20, 4)] {
        let _ = lines(&model, size);
    }
}

#[test]
fn the_footer_shows_the_key_and_the_order() {
    let mut model = model();
    for size in [(120, 40), (80, 24), (60, 16)] {
        let lines = lines(&model, size);
        assert!(lines.last().unwrap().contains("v scopes"), "{lines:#?}");
    }
    press(&mut model, 'v');
    let keys = lines(&model, (80, 24)).pop().unwrap();
    assert!(keys.contains("v next view") && keys.contains("sort: close_wait"), "{keys}");
    assert!(!keys.contains("family"), "{keys}");
}

#[test]
fn the_view_says_why_there_are_no_scopes() {
    let mut model = model();
    press(&mut model, 'v');
    for (answer, text) in [
        (None, "reading the scopes"),
        (Some(Ok(Vec::new())), "No scopes are counted"),
        (Some(Err("no scopes: connection refused".to_owned())), "connection refused"),
    ] {
        model.set_scopes(answer);
        for size in SIZES {
            let text_of_view = lines(&model, size).join("");
            assert!(text_of_view.contains(text), "{size:?}: {text_of_view}");
        }
    }
    model.set_scopes(Some(Ok(Vec::new())));
    let mut status = model.shown().status.clone();
    status.exporter = Some("http://web-1:10048".to_owned());
    model.add(Update { samples: Vec::new(), status });
    let text = lines(&model, (120, 24)).join("");
    assert!(text.contains("The exporter counts no scopes. Start it with --netns all"), "{text}");
}

#[test]
fn the_end_of_a_long_name_is_shown() {
    let theme = Theme { colours: false, unicode: true };
    assert_eq!(end_of("shop/web", 8, theme), "shop/web");
    assert_eq!(end_of("/system.slice/nginx.service", 14, theme), "…nginx.service");
    assert_eq!(end_of("日本日本", 5, theme), "…日本");
    assert_eq!(end_of("abc", 0, theme), "…");
    assert_eq!(end_of("abcdef", 5, Theme { unicode: false, ..theme }), "...ef");
}

#[test]
fn names_of_a_remote_exporter_cannot_control_the_terminal() {
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\n\tx";
    let scope = json!({ "name": evil, "connections": { "close_wait": 1 }, "total": 1 });
    let json = json!({ "kinds": [{ "kind": evil, "scopes": [scope] }] });
    let tables = ScopeTable::all(&serde_json::from_value(json).unwrap());
    let mut model = model();
    press(&mut model, 'v');
    for answer in [Ok(tables), Err(evil.repeat(1_000))] {
        model.set_scopes(Some(answer));
        for size in SIZES {
            let text = lines(&model, size).join("");
            assert!(!text.contains(|c: char| c.is_control() || c == '\u{202e}'), "{text:?}");
        }
        let text = lines(&model, (120, 40)).join("");
        assert!(text.contains("\\u{1b}") || text.contains("\\U{1B}"), "it is visible: {text}");
    }
}
