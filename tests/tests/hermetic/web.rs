//! What the exporter serves besides the metrics, and how serving ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tcpstat_tests::binary::{fixture, printed, tcpstat};
use tcpstat_tests::deadline::DEADLINE;
use tcpstat_tests::exporter::Options;
use tcpstat_tests::harness::Test;
use tcpstat_tests::hermetic_tests;
use tcpstat_tests::scraper::Scraper;

pub(crate) fn tests() -> Vec<Test> {
    hermetic_tests![
        health_and_readiness_answer,
        the_page_links_to_metrics_api_and_health,
        the_page_may_not_load_from_other_hosts,
        the_page_is_sent_again_only_when_it_has_changed,
        all_files_of_the_page_are_served_and_cacheable,
        the_runbook_is_served_with_a_section_for_each_alert,
        text_is_compressed_if_the_client_accepts_it_and_streams_never_are,
        a_reserved_path_is_refused_for_the_metrics,
        other_paths_are_404_and_other_methods_are_405,
        several_addresses_are_served,
        a_client_that_does_not_read_does_not_delay_the_stop
    ]
}

/// An exporter over a fixture, on a free port of the loopback.
pub(crate) fn anywhere(case: &str) -> Result<Options> {
    let mut procfs = std::ffi::OsString::from("--path.procfs=");
    procfs.push(fixture(format!("proc/{case}"))?);
    Ok(Options::default().listen(SocketAddr::from(([127, 0, 0, 1], 0))).args([procfs]))
}

fn health_and_readiness_answer() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.start()?;
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(exporter.get(path)?.status, 200, "{path}");
    }
    Ok(())
}

fn the_page_links_to_metrics_api_and_health() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.args(["--web.telemetry-path=/numbers"]).start()?;
    let page = exporter.get("/")?;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    // Relative, so that it works below any path of a proxy.
    for link in ["numbers", "api", "runbook", "-/healthy"] {
        assert!(page.body.contains(&format!("<a href=\"{link}\">")), "{link}: {}", page.body);
        assert_eq!(exporter.get(&format!("/{link}"))?.status, 200, "{link}");
    }
    Ok(())
}

fn the_page_may_not_load_from_other_hosts() -> Result<()> {
    let page = anywhere("debian-6.1")?.start()?.get("/")?;
    let policy = page.header("content-security-policy").context("no policy")?;
    let directives: Vec<_> = policy.split(';').map(str::trim).collect();
    assert!(directives.contains(&"default-src 'none'"), "{policy}");
    for directive in &directives {
        let (name, sources) = directive.split_once(' ').context("a directive without sources")?;
        assert!(["'none'", "'self'"].contains(&sources), "{name}: {sources}");
    }
    for name in ["base-uri", "form-action", "frame-ancestors"] {
        assert!(directives.contains(&format!("{name} 'none'").as_str()), "{name}: {policy}");
    }
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    Ok(())
}

fn the_page_is_sent_again_only_when_it_has_changed() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.start()?;
    let etag = exporter.get("/")?.header("etag").context("no etag")?.to_owned();
    for (known, status) in
        [(etag.as_str(), 304), (&format!("\"other\", W/{etag}"), 304), ("\"other\"", 200)]
    {
        let page = exporter.scraper().request("GET", "/", &[("If-None-Match", known)])?;
        assert_eq!(page.status, status, "{known}");
        assert_eq!(page.header("cache-control"), Some("no-cache"));
        assert_eq!(page.header("etag"), Some(etag.as_str()));
    }
    Ok(())
}

fn all_files_of_the_page_are_served_and_cacheable() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.start()?;
    let page = exporter.get("/")?.body;
    let files: Vec<_> = page.split(['"']).filter(|path| path.starts_with("assets/")).collect();
    assert!(files.len() >= 5, "{page}");
    for file in &files {
        let answer = exporter.get(&format!("/{file}"))?;
        assert_eq!(answer.status, 200, "{file}");
        let content_type = match file.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            other => bail!("{file}: {other:?}"),
        };
        assert_eq!(answer.header("content-type"), Some(content_type), "{file}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{file}");
        let kept = answer.header("cache-control").context("no cache-control")?;
        assert!(kept.contains("immutable"), "{file}: {kept}");
    }
    // Files of another version are not served.
    let name = files[0].rsplit('/').next().context("no name")?;
    assert_eq!(exporter.get(&format!("/assets/0123456789abcdef/{name}"))?.status, 404);
    Ok(())
}

/// The page has the anchor of every alert's runbook_url, as the alert is named and in lower case, and the same
/// policy as the main page.
fn the_runbook_is_served_with_a_section_for_each_alert() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.start()?;
    let page = exporter.get("/runbook")?;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = exporter.get("/")?.header("content-security-policy").map(str::to_owned);
    assert!(policy.is_some() && page.header("content-security-policy") == policy.as_deref());
    for inline in ["<script", "<style", " style=", "javascript:", "{{"] {
        assert!(!page.body.contains(inline), "{inline}");
    }
    let source = printed(&["runbook"])?;
    let sections: Vec<_> = source.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert!(sections.len() > 10, "{source}");
    for section in sections {
        for id in [section.to_owned(), section.to_lowercase()] {
            assert_eq!(page.body.matches(&format!(" id=\"{id}\"")).count(), 1, "{id}");
        }
    }
    // Every link leads to something that is served.
    let links: Vec<_> =
        page.body.split("<a ").skip(1).filter_map(|link| link.split_once("href=\"")).collect();
    assert!(!links.is_empty(), "{}", page.body);
    for link in links {
        let target = link.1.split_once('"').context("an open href")?.0;
        let anchor = target.strip_prefix('#');
        assert!(
            target == "./" || anchor.is_some_and(|id| page.body.contains(&format!(" id=\"{id}\""))),
            "{target}"
        );
    }
    Ok(())
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut text)?;
    Ok(text)
}

fn text_is_compressed_if_the_client_accepts_it_and_streams_never_are() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.start()?;
    let page = exporter.get("/")?.body;
    let script = page.split('"').find(|path| path.ends_with("uplot.js")).context("no script")?;
    let script = format!("/{script}");
    for path in ["/metrics", "/", "/runbook", "/api", &script] {
        let plain = exporter.get(path)?;
        assert_eq!(plain.header("content-encoding"), None, "{path}");
        let vary = plain.header("vary").context("no vary")?.to_owned();
        assert!(vary.contains("accept-encoding"), "{path}: {vary}");
        let mut ask = |accepted: &str| {
            exporter.scraper().raw_request("GET", path, &[("Accept-Encoding", accepted)])
        };
        let (_, headers, body) = ask("gzip")?;
        if plain.body.len() < 8 * 1024 {
            assert_eq!(headers.get("content-encoding"), None, "{path}");
            continue;
        }
        assert_eq!(headers.get("content-encoding").map(String::as_str), Some("gzip"), "{path}");
        assert_eq!(headers.get("vary"), Some(&vary), "{path}");
        assert!(body.len() * 3 < plain.body.len() * 2, "{path}: {} bytes", body.len());
        let text = String::from_utf8(gzip(&body)?)?;
        // The numbers may differ between two scrapes; the names are the same.
        let first = |text: &str| text.lines().next().map(str::to_owned);
        assert_eq!(first(&text), first(&plain.body), "{path}");
        assert_eq!(text.lines().count(), plain.body.lines().count(), "{path}");
        let (_, headers, body) = ask("gzip;q=0, identity")?;
        assert_eq!(headers.get("content-encoding"), None, "{path}");
        String::from_utf8(body)?;
    }
    let mut stream = TcpStream::connect(exporter.address())?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(b"GET /api/v1/stream HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")?;
    let mut head = String::new();
    let mut lines = BufReader::new(stream);
    while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head)? > 0 {}
    assert!(head.starts_with("HTTP/1.0 200") && !head.contains("content-encoding"), "{head}");
    Ok(())
}

fn a_reserved_path_is_refused_for_the_metrics() -> Result<()> {
    for path in
        ["/", "/runbook", "/-/healthy", "/-/ready", "/api", "/api/v1/stream", "/assets/1/main.js"]
    {
        let run = tcpstat(["serve", &format!("--web.telemetry-path={path}")])?;
        assert_eq!(run.status, Some(2), "{path}");
        assert!(run.stderr.contains(path) && run.stderr.contains("reserved"), "{}", run.stderr);
    }
    Ok(())
}

fn other_paths_are_404_and_other_methods_are_405() -> Result<()> {
    let mut exporter = anywhere("debian-6.1")?.start()?;
    for path in ["/metric", "/metrics/", "/-/reload", "/favicon.ico", "/api/", "/api/v2/status"] {
        let answer = exporter.get(path)?;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.body.starts_with("not found; the metrics are at /metrics; "), "{path}");
        assert!(answer.body.ends_with(", the API at /api\n"), "{path}: {}", answer.body);
    }
    for path in ["/", "/metrics", "/-/ready", "/api/v1/status"] {
        let answer = exporter.scraper().request("POST", path, &[])?;
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{path}");
        assert_eq!(answer.body, "method not allowed; tcpstat answers GET and HEAD\n", "{path}");
    }
    Ok(())
}

fn several_addresses_are_served() -> Result<()> {
    let exporter = anywhere("debian-6.1")?.args(["--web.listen-address=127.0.0.2:0"]).start()?;
    let log = exporter.log();
    let address = log.split("http://").find(|part| part.starts_with("127.0.0.2:"));
    let address = address.and_then(|part| part.split_whitespace().next()).context(log.clone())?;
    assert_eq!(Scraper::connect(address.parse()?)?.get("/-/healthy")?.status, 200);
    Ok(())
}

fn a_client_that_does_not_read_does_not_delay_the_stop() -> Result<()> {
    let exporter = anywhere("debian-6.1")?.start()?;
    let mut reader = TcpStream::connect(exporter.address())?;
    reader.set_write_timeout(Some(Duration::from_secs(1)))?;
    // Until unread answers and requests fill every buffer.
    while reader.write_all(b"GET /metrics HTTP/1.1\r\nHost: tcpstat\r\n\r\n").is_ok() {}
    assert_eq!(exporter.stop()?.code(), Some(0));
    Ok(())
}
