//! The header `Authorization` with basic credentials (RFC 7617, section 2).

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};

/// What a client sends as user name and password. Neither need be UTF-8.
#[derive(PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: Vec<u8>,
    pub(super) password: Vec<u8>,
}

/// The credentials in `headers`; `None` if there are none, or they are malformed.
pub(super) fn credentials(headers: &HeaderMap) -> Option<Credentials> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let space = value.iter().position(|byte| *byte == b' ')?;
    let (scheme, encoded) = value.split_at(space);
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let mut user = STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = user.iter().position(|byte| *byte == b':')?;
    let password = user.split_off(colon + 1);
    user.pop();
    Some(Credentials { user, password })
}

/// Without the contents: users type passwords into the wrong field.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn of(value: &str) -> Option<(String, String)> {
        let value = HeaderValue::from_str(value).unwrap();
        let found = credentials(&HeaderMap::from_iter([(header::AUTHORIZATION, value)]))?;
        let [user, password] =
            [found.user, found.password].map(|bytes| String::from_utf8(bytes).unwrap());
        Some((user, password))
    }

    #[test]
    fn user_and_password_are_decoded() {
        let text = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(of("Basic YWxpY2U6c2VjcmV0"), text("alice", "secret"));
        assert_eq!(of("basic  YWxpY2U6c2VjcmV0 "), text("alice", "secret"));
        // The password may contain colons, and both may be empty.
        assert_eq!(of("Basic YWxpY2U6YTpi"), text("alice", "a:b"));
        assert_eq!(of("Basic Og=="), text("", ""));
    }

    #[test]
    fn anything_else_has_no_credentials() {
        for value in ["", "Basic", "Basic ", "Basic YWxpY2U", "Basic !", "Bearer YWxpY2U6c2VjcmV0"]
        {
            assert_eq!(of(value), None, "{value:?}");
        }
        // Base64 of a text without a colon.
        assert_eq!(of("Basic YWxpY2U="), None);
        assert_eq!(credentials(&HeaderMap::new()), None);
    }
}
