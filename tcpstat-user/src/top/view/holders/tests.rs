use ratatui::layout::Rect;

use crate::{
    states::State,
    top::{
        Model,
        holders::{Answer, Processes, tests::answer},
        scopes::tests::tables,
        tests::{model, press},
        view::{
            Theme, fit,
            tests::{SIZES, lines},
        },
    },
};

fn holders_view(sockets: &[u64], queues: usize) -> Model {
    let mut model = model();
    press(&mut model, 'w');
    let mut answer = answer(&model, sockets, queues);
    if let Ok(holders) = &mut answer.holders {
        holders.rows[0].processes = Processes::new(Some((4_194_304, "long-command-nm")), 13);
    }
    model.set_holders(Some(answer));
    model
}

/// The words of the first line that contains `part`.
fn cells<'a>(lines: &'a [String], part: &str) -> Vec<&'a str> {
    let line = lines.iter().find(|line| line.contains(part));
    line.map(|line| line.split_whitespace().collect()).unwrap_or_default()
}

#[test]
fn each_row_has_its_sockets_their_process_and_what_they_have_in_common() {
    let lines = lines(&holders_view(&[1_200, 37], 1), (120, 40));
    let summary = cells(&lines, "CLOSE_WAIT");
    assert_eq!(summary[..3], ["CLOSE_WAIT", "1,237", "held"]);
    let titles = ["SOCKETS", "OLDEST", "PROCESS", "PORT", "PEER", "UNIT"];
    assert_eq!(cells(&lines, "SOCKETS "), titles);
    assert_eq!(
        cells(&lines, "java"),
        ["37", "3h", "3m", "101", "java", "8080", "10.0.0.7:443", "web.service"]
    );
    assert_eq!(cells(&lines, "long-command")[3..6], ["4194304", "long-command-nm", "+12"]);
    assert!(lines.iter().any(|line| line.starts_with("WAITING to be accepted")), "{lines:#?}");
    assert_eq!(cells(&lines, "stuck"), ["5", "of", "4", "0.0.0.0:8081", "4711", "stuck"]);
    assert!(!lines.join("").contains("TRANSITIONS"), "{lines:#?}");
}

#[test]
fn every_size_has_the_sockets_and_the_process_of_the_first_row() {
    let mut model = holders_view(&[1_200], 1);
    for size in SIZES {
        let lines = lines(&model, size);
        let row = cells(&lines, "4194304");
        assert_eq!(row[0], "1,200", "{size:?}: {lines:#?}");
        assert!(row.contains(&"+12"), "{size:?}: {lines:#?}");
        assert!(lines.join("").contains("stuck"), "{size:?}: {lines:#?}");
        assert!(lines.join("").contains("w back"), "{size:?}: {lines:#?}");
        assert!(lines.join("").contains("[] state"), "{size:?}: {lines:#?}");
    }
    for scrolled in [false, true] {
        for size in [(1, 0), (1, 1), (3, 40), (200, 1), (39, 9), (20, 4)] {
            let _ = lines(&model, size);
        }
        assert!(!scrolled || model.holders_view().unwrap().scrolled > 0);
        press(&mut model, 'j');
    }
}

#[test]
fn a_long_list_scrolls() {
    let mut model = holders_view(&[9; 30], 0);
    assert!(!lines(&model, (40, 10)).join("").contains("110 java"));
    for _ in 0..10 {
        press(&mut model, 'j');
    }
    let lines = lines(&model, (40, 10));
    assert!(cells(&lines, "110 java").contains(&"9"), "{lines:#?}");
    assert!(!lines.join("").contains("109 java"), "{lines:#?}");
}

#[test]
fn a_list_scrolls_to_its_last_page_and_not_at_all_if_it_fits() {
    let theme = Theme { colours: false, unicode: true };
    for (rows, queues) in [(1, 0), (1, 1), (4, 0), (30, 0), (30, 2)] {
        for (width, height) in SIZES {
            let mut model = holders_view(&vec![9; rows], queues);
            let area = Rect::new(0, 0, width, height);
            for _ in 0..50 {
                press(&mut model, 'j');
                fit(&mut model, area, theme);
            }
            let before = lines(&model, (width, height));
            let list = before.iter().filter(|line| {
                line.contains(" java") || line.contains("4194304") || line.contains("stuck")
            });
            let shown = list.count() + usize::from(before.join("").contains("WAITING"));
            let all = rows + queues + usize::from(queues > 0);
            let scrolled = model.holders_view().unwrap().scrolled;
            assert_eq!(scrolled + shown, all, "{rows} {queues} {width}x{height}: {before:#?}");
            // A full page: another line back would hide the last one.
            if scrolled > 0 {
                press(&mut model, 'k');
                let back = lines(&model, (width, height));
                assert_ne!(back, before, "{back:#?}");
            }
        }
    }
}

#[test]
fn the_view_says_what_is_hidden_and_why_there_is_nothing() {
    let mut model = holders_view(&[1], 0);
    let mut partial = answer(&model, &[1], 0);
    if let Ok(holders) = &mut partial.holders {
        (holders.hidden, holders.more_rows) = (12, 3);
    }
    model.set_holders(Some(partial));
    for size in SIZES {
        let text = lines(&model, size).join("");
        assert!(text.contains("12 processes hidden: grant CAP_BPF"), "{size:?}: {text}");
    }
    assert!(lines(&model, (120, 40)).join("").contains("3 more rows"));

    let mut hidden = answer(&model, &[], 0);
    if let Ok(holders) = &mut hidden.holders {
        holders.hidden = 12;
    }
    model.set_holders(Some(hidden));
    let shown = lines(&model, (120, 40)).join("");
    assert!(shown.contains("no visible process holds such a socket"), "{shown}");

    for text in ["no process holds such a socket", "no process: the kernel keeps"] {
        let empty = answer(&model, &[], 0);
        model.set_holders(Some(empty));
        for size in SIZES {
            let shown = lines(&model, size).join("");
            assert!(shown.contains(text), "{size:?}: {shown}");
        }
        while model.marked_state() != State::TimeWait {
            press(&mut model, '[');
        }
    }
}

#[test]
fn a_problem_replaces_the_list() {
    let mut model = model();
    press(&mut model, 'w');
    assert!(lines(&model, (40, 10)).join("").contains("reading what processes hold"));
    let question = model.question().unwrap();
    let problem = "no memory: grant CAP_BPF".to_owned();
    model.set_holders(Some(Answer { question, holders: Err(problem) }));
    for size in SIZES {
        let text = lines(&model, size).join("");
        assert!(text.contains("no memory: grant CAP_BPF"), "{size:?}: {text}");
        assert!(text.contains("CLOSE_WAIT  in its own"), "{size:?}: {text}");
    }
}

#[test]
fn a_scope_whose_sockets_are_not_known_is_named() {
    let mut model = model();
    press(&mut model, 'v');
    model.set_scopes(Some(Ok(tables())));
    press(&mut model, 'w');
    for size in SIZES {
        let text = lines(&model, size).join("");
        assert!(text.contains("shop/web-7f9c") && text.contains("not known"), "{size:?}: {text}");
    }
}

#[test]
fn the_footer_has_the_key_at_every_size() {
    let mut model = model();
    for size in SIZES {
        assert!(lines(&model, size).pop().unwrap().contains("w who"), "{size:?}");
    }
    let keys = lines(&model, (120, 40)).pop().unwrap();
    assert!(keys.contains("jk mark"), "{keys}");
    press(&mut model, 'w');
    let keys = lines(&model, (80, 24)).pop().unwrap();
    assert!(keys.contains("[] state: close_wait"), "{keys}");
    let keys = lines(&model, (120, 40)).pop().unwrap();
    assert!(keys.contains("jk scroll"), "{keys}");
}

#[test]
fn the_marked_scope_is_within_a_low_view() {
    let mut model = model();
    press(&mut model, 'v');
    let mut tables = tables();
    tables[0].rows = vec![tables[0].rows[2].clone(); 30];
    for (row, at) in tables[0].rows.iter_mut().zip(0..) {
        row.name = format!("s{at:02}");
    }
    model.set_scopes(Some(Ok(tables)));
    for _ in 0..20 {
        press(&mut model, 'j');
    }
    let low = lines(&model, (40, 10));
    assert!(low.iter().any(|line| line.starts_with("s20")), "{low:#?}");
    assert!(!low.iter().any(|line| line.starts_with("s21")), "{low:#?}");
}
