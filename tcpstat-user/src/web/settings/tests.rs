use std::fs;

use super::*;

const USER: &str =
    "basic_auth_users:\n  alice: $2b$04$CCCCCCCCCCCCCCCCCCCCC.4K7lyz.nKATbsiu/RcZjqWyDNnj87qG\n";

fn settings(text: &str, before: Option<&Arc<Limiter>>) -> Settings {
    Settings::new(WebConfig::parse(text, Path::new("/")).unwrap(), before).unwrap()
}

#[test]
fn an_empty_file_locks_nothing() {
    let settings = settings("", None);
    assert_eq!(settings.to_string(), "plain HTTP, no authentication");
    assert_eq!(settings.scheme(), "http");
}

#[test]
fn the_log_line_says_what_is_locked() {
    let text = format!("{USER}rate_limit:\n  interval: 100ms\n  burst: 20\n");
    let line = settings(&text, None).to_string();
    assert_eq!(line, "plain HTTP, 1 user, a request per 100ms with a burst of 20");
}

#[test]
fn authentication_cannot_be_turned_off_later_but_on() {
    let (open, locked) = (settings("", None), settings(USER, None));
    assert!(open.check_locks(&locked).is_ok());
    assert!(locked.check_locks(&locked).is_ok());
    let error = locked.check_locks(&open).unwrap_err().in_file(Path::new("web.yml")).to_string();
    assert!(error.contains("authentication cannot be turned off"), "{error}");
    assert!(error.contains("restart tcpstat"), "{error}");
}

#[test]
fn the_check_of_client_certificates_cannot_be_turned_off_later() {
    let locked = Settings { verifies_clients: true, ..Settings::default() };
    assert!(locked.check_locks(&Settings::default()).is_err());
    assert!(Settings::default().check_locks(&locked).is_ok());
}

#[test]
fn a_client_certificate_cannot_become_optional_later() {
    let locked = Settings { requires_certificates: true, ..Settings::default() };
    assert!(locked.check_locks(&Settings::default()).is_err());
    assert!(
        locked
            .check_locks(&Settings {
                verifies_clients: true,
                requires_certificates: true,
                ..Settings::default()
            })
            .is_ok()
    );
}

#[test]
fn the_check_of_the_names_in_client_certificates_cannot_be_turned_off_later() {
    let locked = Settings { checks_names: true, ..Settings::default() };
    assert!(locked.check_locks(&Settings::default()).is_err());
    assert!(Settings::default().check_locks(&locked).is_ok());
}

#[test]
fn a_limit_that_stays_the_same_goes_on() {
    let [same, other] =
        ["3", "4"].map(|burst| format!("rate_limit: {{ interval: 1s, burst: {burst} }}"));
    let first = settings(&same, None).limiter.unwrap();
    let second = settings(&same, Some(&first)).limiter.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert!(!Arc::ptr_eq(&first, &settings(&other, Some(&first)).limiter.unwrap()));
    assert!(settings("", Some(&first)).limiter.is_none());
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.yml");
    let error = |path: &Path| ConfigFile::open(path.to_owned()).unwrap_err().to_string();
    assert!(error(&path).contains("web.yml") && error(&path).contains("create it"));
    fs::write(&path, b"\xff").unwrap();
    assert!(error(&path).contains("not UTF-8"), "{}", error(&path));
    fs::write(&path, vec![b'#'; 2 * 1024 * 1024]).unwrap();
    assert!(error(&path).contains("has at most 1048576"), "{}", error(&path));
    assert!(error(directory.path()).contains("--web.config.file"));
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for special in [&pipe, Path::new("/dev/ptmx")] {
        assert!(error(special).contains("not a regular file"), "{}", error(special));
    }
    fs::write(&path, "tls_server_config: { cert_file: pipe, key_file: pipe }\n").unwrap();
    assert!(error(&path).contains("line 1: cert_file"), "{}", error(&path));
    fs::write(&path, USER).unwrap();
    assert_eq!(ConfigFile::open(path).unwrap().settings().borrow().users.hashes().len(), 1);
}
