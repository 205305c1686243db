//! Serves the metrics of all hosts of a fleet on one port: those of host 17 at `/standard/17/metrics`.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use super::plan::{Fleet, now};
use super::profile::{Profile, Shape};

/// Maximum length of the head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// A fleet that answers, until this is dropped.
#[derive(Debug)]
pub struct Served {
    // It ends with this field.
    _runtime: Runtime,
    address: SocketAddr,
    state: Arc<State>,
}

/// One of several servers that share the hosts of a fleet.
#[derive(Clone, Copy, Debug)]
pub struct Shard {
    /// From 0 on.
    pub number: u64,
    /// How many servers there are.
    pub of: u64,
}

#[derive(Debug)]
struct State {
    fleet: Mutex<Fleet>,
    shapes: Vec<(Profile, Shape)>,
    /// Metrics that each host has sent.
    answers: Vec<AtomicU64>,
}

impl Served {
    /// Serves on a free port of the loopback interface, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Fails if no port is free.
    pub fn start(fleet: Fleet, shapes: Vec<(Profile, Shape)>) -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let answers = (0..fleet.hosts).map(|_| AtomicU64::new(0)).collect();
        let state = Arc::new(State { fleet: Mutex::new(fleet), shapes, answers });
        // One thread leaves the other processors to those who scrape.
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_io().build()?;
        let shared = state.clone();
        let listener = {
            let _in_runtime = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // The end of a connection is no error.
                tokio::spawn(answer_all(stream, shared.clone()));
            }
        });
        Ok(Self { _runtime: runtime, address, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens in the fleet from now on. The number of hosts must stay.
    pub fn change(&self, change: impl FnOnce(&mut Fleet)) {
        change(&mut self.state.fleet.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The fleet as it is now.
    #[must_use]
    pub fn fleet(&self) -> Fleet {
        *self.state.fleet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a host has sent its metrics, in all profiles.
    #[must_use]
    pub fn answers(&self, host: u64) -> u64 {
        let of_host = usize::try_from(host).ok().and_then(|host| self.state.answers.get(host));
        of_host.map_or(0, |answers| answers.load(Ordering::SeqCst))
    }

    /// A configuration of Prometheus that scrapes all hosts, and evaluates rules.yml, that often, followed by `more`.
    #[must_use]
    pub fn config(&self, profile: Profile, interval: Duration, more: &str) -> String {
        let (interval, job) = (interval.as_millis(), self.job(profile, None));
        format!(
            "global: {{scrape_interval: {interval}ms, evaluation_interval: {interval}ms}}\n\
             rule_files: [rules.yml]\nscrape_configs:\n{job}{more}"
        )
    }

    /// An entry of `scrape_configs`: the job `tcpstat` with all hosts, or those of a shard, each with the labels
    /// `instance`, such as `host-17:10048`, and `site`, such as `site-0`.
    #[must_use]
    pub fn job(&self, profile: Profile, shard: Option<Shard>) -> String {
        let fleet = self.fleet();
        let mut job = "- job_name: tcpstat\n  static_configs:\n".to_owned();
        for site in 0..fleet.sites {
            let hosts = (0..fleet.hosts).filter(|host| fleet.site(*host) == site);
            let hosts: Vec<_> = hosts.map(|host| format!("'host-{host}:10048'")).collect();
            let hosts = hosts.join(", ");
            // Writing to a String cannot fail.
            let _ = writeln!(job, "  - {{targets: [{hosts}], labels: {{site: site-{site}}}}}");
        }
        job.push_str("  relabel_configs:\n");
        if let Some(Shard { number, of }) = shard {
            let _ = write!(
                job,
                "  - {{source_labels: [__address__], modulus: {of}, target_label: __tmp_shard, action: hashmod}}\n  \
                 - {{source_labels: [__tmp_shard], regex: '{number}', action: keep}}\n"
            );
        }
        let (profile, address) = (profile.name(), self.address);
        let _ = write!(
            job,
            "  - {{source_labels: [__address__], target_label: instance}}\n  \
             - {{source_labels: [__address__], regex: 'host-(\\d+):.*', replacement: '/{profile}/$1/metrics', \
             target_label: __metrics_path__}}\n  \
             - {{target_label: __address__, replacement: '{address}'}}\n"
        );
        job
    }
}

impl State {
    /// The answer to a request for this path, if the host answers.
    fn answer(&self, path: &str, body: &mut String) -> Option<()> {
        let (profile, rest) = path.strip_prefix('/')?.split_once('/')?;
        let number = rest.strip_suffix("/metrics")?.parse().ok()?;
        let (_, shape) = self.shapes.iter().find(|(of, _)| of.name() == profile)?;
        let fleet = *self.fleet.lock().unwrap_or_else(PoisonError::into_inner);
        if !fleet.answers(number) {
            return None;
        }
        let host = fleet.host(number, now());
        let template = if host.is_blind() { &shape.blind } else { &shape.counting };
        template.write(&host, body);
        self.answers.get(usize::try_from(number).ok()?)?.fetch_add(1, Ordering::SeqCst);
        Some(())
    }
}

/// Answers all requests of a connection. To who scrapes, 503 is a host that is down, as no answer would be.
async fn answer_all(mut stream: TcpStream, state: Arc<State>) -> Result<()> {
    stream.set_nodelay(true)?;
    let (mut head, mut body) = (Vec::new(), String::new());
    while let Some(path) = request(&mut stream, &mut head).await? {
        body.clear();
        let status = match state.answer(&path, &mut body) {
            Some(()) => "200 OK",
            None => "503 Service Unavailable",
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {length}\r\n\r\n"
        );
        body.insert_str(0, &head);
        stream.write_all(body.as_bytes()).await?;
    }
    Ok(())
}

/// The path of the next request, which has no body; `None` at the end of the connection.
async fn request(stream: &mut TcpStream, head: &mut Vec<u8>) -> Result<Option<String>> {
    head.clear();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > MAX_HEAD || stream.read_buf(head).await? == 0 {
            return Ok(None);
        }
    }
    let text = str::from_utf8(head)?;
    Ok(Some(text.split(' ').nth(1).context("a request has no path")?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Template;
    use crate::scraper::Scraper;

    fn served() -> Served {
        let template = |text: &str| Template::parse(text).unwrap();
        let shape = Shape {
            counting: template("tcpstat_tracer_up 1"),
            blind: template("tcpstat_tracer_up 0"),
        };
        let fleet = Fleet { blind_every: Some(10), ..Fleet::quiet(10) };
        Served::start(fleet, vec![(Profile::Standard, shape)]).unwrap()
    }

    #[test]
    fn every_host_answers_on_one_connection_and_a_lost_site_does_not() {
        let served = served();
        let mut scraper = Scraper::connect(served.address()).unwrap();
        let mut get = |path: &str| {
            let response = scraper.get(path).unwrap();
            (response.status, response.body)
        };
        assert_eq!(get("/standard/3/metrics"), (200, "tcpstat_tracer_up 0\n".to_owned()));
        assert_eq!(get("/standard/9/metrics"), (200, "tcpstat_tracer_up 1\n".to_owned()));
        for wrong in ["/standard/10/metrics", "/scopes/3/metrics", "/standard/x/metrics", "/"] {
            assert_eq!(get(wrong).0, 503, "{wrong}");
        }
        served.change(|fleet| fleet.lost_site = Some(9));
        assert_eq!((get("/standard/9/metrics").0, get("/standard/8/metrics").0), (503, 200));
        served.change(|fleet| fleet.lost_site = None);
        assert_eq!(get("/standard/9/metrics").0, 200);
        assert_eq!([3, 8, 9, 10].map(|host| served.answers(host)), [1, 1, 2, 0]);
    }

    #[test]
    fn a_job_has_all_hosts_and_their_sites() {
        let served = served();
        let job = served.job(Profile::Standard, Some(Shard { number: 1, of: 2 }));
        assert!(job.contains("{targets: ['host-9:10048'], labels: {site: site-9}}"), "{job}");
        assert!(job.contains("modulus: 2") && job.contains(&served.address().to_string()), "{job}");
    }
}
