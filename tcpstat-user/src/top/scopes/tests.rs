use serde_json::json;

use super::*;
use crate::top::{
    Model,
    tests::{model, press},
};

/// Two kinds: network namespaces of which one is not seeded yet, and a port.
pub(in crate::top) fn tables() -> Vec<ScopeTable> {
    let scope = |name: &str, established: u64, close_wait: u64| {
        let connections =
            json!({ "established": established, "close_wait": close_wait, "closing": 1 });
        let total = established + close_wait + 1;
        json!({ "name": name, "connections": connections, "total": total })
    };
    let netns = [
        scope("host", 5_000, 2),
        scope("shop/web-7f9c", 40, 1_200),
        scope("shop/db-0", 300, 2),
        json!({ "name": "new", "connections": null, "total": null }),
    ];
    let kinds = [
        json!({ "kind": "netns", "overflow": 7, "hidden": 3, "scopes": netns }),
        json!({ "kind": "port", "scopes": [scope("443", 9, 0)] }),
    ];
    ScopeTable::all(&serde_json::from_value(json!({ "kinds": kinds })).unwrap())
}

fn names(model: &Model) -> Vec<&str> {
    let table = model.scope_table().unwrap().unwrap();
    table.sorted(model.scope_sort()).into_iter().map(|row| row.name.as_str()).collect()
}

fn kind(model: &Model) -> Option<&str> {
    model.scope_table().ok().flatten().map(|table| table.kind.as_str())
}

#[test]
fn a_row_has_the_sockets_of_its_columns() {
    let tables = tables();
    let web = &tables[0].rows[1];
    let sockets = ScopeColumn::ALL.map(|column| web.sockets(column));
    assert_eq!(sockets, [40, 1_200, 0, 0, 0, 1_241].map(Some));
    assert_eq!(tables[0].rows[3].sockets(ScopeColumn::Total), None);
    assert_eq!((tables[0].overflow, tables[0].hidden), (7, 3));
}

#[test]
fn v_shows_each_kind_and_then_the_states_again() {
    let mut model = model();
    assert!(!model.shows_scopes());
    press(&mut model, 'v');
    assert!(model.shows_scopes() && model.waits());
    assert_eq!(model.scope_table(), Err(None));
    model.set_scopes(Some(Ok(tables())));
    assert!(!model.waits());
    assert_eq!(kind(&model), Some("netns"));
    press(&mut model, 'v');
    assert_eq!(kind(&model), Some("port"));
    press(&mut model, 'v');
    assert!(!model.shows_scopes());
}

#[test]
fn without_scopes_v_leads_back_to_the_states() {
    let mut model = model();
    press(&mut model, 'v');
    model.set_scopes(Some(Ok(Vec::new())));
    assert_eq!(model.scope_table(), Ok(None));
    press(&mut model, 'v');
    assert!(!model.shows_scopes());
}

#[test]
fn the_worst_close_wait_is_first_and_s_changes_the_order() {
    let mut model = model();
    press(&mut model, 'v');
    model.set_scopes(Some(Ok(tables())));
    assert_eq!(names(&model), ["shop/web-7f9c", "host", "shop/db-0", "new"]);
    press(&mut model, 's');
    assert_eq!(names(&model), ["host", "shop/db-0", "shop/web-7f9c", "new"]);
    let mut orders = vec![model.scope_sort().word()];
    for _ in 0..6 {
        press(&mut model, 's');
        orders.push(model.scope_sort().word());
    }
    let expected =
        ["established", "time_wait", "syn_sent", "listen", "total", "name", "close_wait"];
    assert_eq!(orders, expected);
    press(&mut model, 'v');
    press(&mut model, 'v');
    press(&mut model, 's');
    assert_eq!(model.sort(), crate::top::Sort::Count, "the states have their own order");
}

#[test]
fn a_paused_view_keeps_its_scopes() {
    let mut model = model();
    press(&mut model, 'v');
    model.set_scopes(Some(Ok(tables())));
    press(&mut model, 'p');
    model.set_scopes(Some(Err("no connection".to_owned())));
    assert_eq!(kind(&model), Some("netns"));
    press(&mut model, 'p');
    assert_eq!(model.scope_table(), Err(Some("no connection")));
}

#[test]
fn scopes_that_are_read_after_the_pause_began_are_shown() {
    let mut model = model();
    press(&mut model, 'p');
    press(&mut model, 'v');
    model.set_scopes(Some(Ok(tables())));
    assert_eq!(kind(&model), Some("netns"));
}
