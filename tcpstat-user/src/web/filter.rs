//! Which groups of metrics a scrape asks for: `?collect[]=GROUP` and `?exclude[]=GROUP`, as node_exporter has them.
//! `collect[]` also takes `default`, the groups of a plain scrape, and `all`.

use axum::{extract::Query, http::Uri};
use thiserror::Error;

use crate::{
    metrics::{Group, Groups},
    text,
};

/// Longest query that is read, in bytes: all groups take a fifth of it.
const MAX_QUERY: usize = 2048;

const COLLECT: &str = "collect[]";
const EXCLUDE: &str = "exclude[]";

/// The groups of a plain scrape, for `collect[]`.
const DEFAULT: &str = "default";
/// Every group, for `collect[]`.
const ALL: &str = "all";

/// Why a query selects no groups, in one line.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum FilterError {
    #[error("the query has {0} bytes, and at most {MAX_QUERY} are read: name each group once")]
    TooLong(usize),
    #[error("the query cannot be parsed: it must be NAME=VALUE pairs with & between")]
    Malformed,
    #[error("unknown parameter `{0}`: write `{0}[]`")]
    WithoutBrackets(&'static str),
    #[error("{COLLECT} and {EXCLUDE} cannot be combined: use one of them")]
    Combined,
    #[error("{COLLECT}={}: there is no such group; the groups are {}, {DEFAULT} and {ALL}", shown(.0), words())]
    UnknownCollected(String),
    #[error("{EXCLUDE}={}: there is no such group; the groups are {}", shown(.0), words())]
    UnknownExcluded(String),
}

/// The groups that the query of `uri` asks for: those of a plain scrape without `collect[]`, and without those of
/// `exclude[]`. Both can be repeated, and their brackets can be percent-encoded. As in node_exporter, other parameters do nothing.
pub(super) fn groups(uri: &Uri) -> Result<Groups, FilterError> {
    let query = uri.query().unwrap_or_default();
    if query.len() > MAX_QUERY {
        return Err(FilterError::TooLong(query.len()));
    }
    let Query(parameters) =
        Query::<Vec<(String, String)>>::try_from_uri(uri).map_err(|_| FilterError::Malformed)?;
    let (mut collected, mut excluded) = (None, None);
    for (name, group) in parameters {
        let named = Group::named(&group).map(|group| Groups::NONE.with(group));
        let (groups, named) = match name.as_str() {
            COLLECT => {
                let named = named.or_else(|| several(&group));
                (&mut collected, named.ok_or(FilterError::UnknownCollected(group))?)
            }
            EXCLUDE => (&mut excluded, named.ok_or(FilterError::UnknownExcluded(group))?),
            "collect" => return Err(FilterError::WithoutBrackets("collect")),
            "exclude" => return Err(FilterError::WithoutBrackets("exclude")),
            _ => continue,
        };
        *groups = Some(groups.unwrap_or(Groups::NONE).and(named));
    }
    match (collected, excluded) {
        (Some(_), Some(_)) => Err(FilterError::Combined),
        (Some(collected), None) => Ok(collected),
        (None, Some(excluded)) => Ok(excluded.others()),
        (None, None) => Ok(Groups::DEFAULT),
    }
}

/// The groups that one word of `collect[]` names.
fn several(word: &str) -> Option<Groups> {
    match word {
        DEFAULT => Some(Groups::DEFAULT),
        ALL => Some(Groups::ALL),
        _ => None,
    }
}

/// What a client sent, in one short line.
fn shown(group: &str) -> std::borrow::Cow<'_, str> {
    text::plain(group, text::VALUE)
}

fn words() -> String {
    Group::ALL.map(Group::word).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(query: &str) -> Result<Groups, FilterError> {
        groups(&format!("/metrics?{query}").parse().unwrap())
    }

    #[test]
    fn without_a_filter_all_groups_but_the_details_are_selected() {
        assert_eq!(groups(&"/metrics".parse().unwrap()), Ok(Groups::DEFAULT));
        for query in ["", "&", "name=value", "collect[0]=connections"] {
            assert_eq!(selected(query), Ok(Groups::DEFAULT), "{query}");
        }
    }

    #[test]
    fn collect_selects_the_groups_it_names_and_exclude_all_others() {
        let both = Groups::NONE.with(Group::Connections).with(Group::Health);
        for (query, groups) in [
            ("collect[]=connections", Groups::NONE.with(Group::Connections)),
            ("collect[]=connections&collect[]=health", both),
            ("collect[]=health&x=y&collect[]=connections&collect[]=health", both),
            ("collect%5B%5D=connections&collect%5b%5D=health", both),
            ("exclude[]=connections&exclude%5B%5D=health", both.others()),
            ("collect[]=%63onnections&collect[]=health", both),
            ("exclude[]=details", Groups::DEFAULT),
            ("collect[]=default", Groups::DEFAULT),
            ("collect[]=default&collect[]=details", Groups::ALL),
            ("collect[]=all", Groups::ALL),
            ("collect[]=health&collect[]=all&collect[]=connections", Groups::ALL),
        ] {
            assert_eq!(selected(query), Ok(groups), "{query}");
        }
    }

    #[test]
    fn a_parameter_without_brackets_is_refused_with_the_right_name() {
        for (query, line) in [
            ("collect=connections", "unknown parameter `collect`: write `collect[]`"),
            ("x=y&exclude=process", "unknown parameter `exclude`: write `exclude[]`"),
        ] {
            assert_eq!(selected(query).unwrap_err().to_string(), line, "{query}");
        }
    }

    #[test]
    fn collect_and_exclude_together_are_refused() {
        let query = "collect[]=connections&exclude[]=process";
        assert_eq!(selected(query), Err(FilterError::Combined));
    }

    #[test]
    fn an_unknown_group_is_refused_with_the_names_of_all_groups() {
        for query in [
            "collect[]=foo",
            "exclude[]=foo",
            "collect[]=",
            "collect[]=connections,health",
            "exclude[]=all",
            "exclude[]=default",
        ] {
            let line = selected(query).unwrap_err().to_string();
            assert!(line.starts_with(query), "{line}");
            for group in Group::ALL {
                assert!(line.contains(group.word()), "{line}");
            }
            assert_eq!(line.ends_with(", default and all"), query.starts_with(COLLECT), "{line}");
        }
    }

    #[test]
    fn what_a_client_sends_is_shown_in_one_short_line() {
        let line = selected("collect[]=a%0Ab%1b[31m").unwrap_err().to_string();
        assert!(line.starts_with(r"collect[]=a\nb\u{1b}[31m: there is no such group"), "{line}");
        let longest = MAX_QUERY - COLLECT.len() - 1;
        let line = selected(&format!("collect[]={}", "x".repeat(longest))).unwrap_err().to_string();
        assert!(line.len() < 2 * text::VALUE, "{line}");
    }

    #[test]
    fn a_long_query_is_refused_before_it_is_parsed() {
        let longest = "&collect[]=connections".repeat(MAX_QUERY).split_off(1);
        let length = longest.len();
        assert_eq!(selected(&longest), Err(FilterError::TooLong(length)));
        assert_eq!(selected(&"x".repeat(MAX_QUERY)), Ok(Groups::DEFAULT));
        let all = Group::ALL.map(|group| format!("{COLLECT}={}", group.word())).join("&");
        assert_eq!(selected(&all), Ok(Groups::ALL));
    }
}
