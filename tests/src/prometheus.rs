//! A Prometheus with a configuration and rules of a test.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::binary::path_from;
use crate::deadline::{Progress, poll};
use crate::server::{REQUEST_INTERVAL, Server};

/// Where it listens: every namespace has its own loopback.
const ADDRESS: &str = "127.0.0.1:9090";

/// A running Prometheus with an empty database. Dropping it kills it.
#[derive(Debug)]
pub struct Prometheus {
    server: Server,
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Labels, the metric's name as `__name__`.
    pub labels: BTreeMap<String, String>,
    /// The latest value.
    pub value: f64,
}

impl Prometheus {
    /// Starts it. `rules` is the content of `rules.yml`, which the configuration may name.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start(config: &str, rules: &str) -> Result<Self> {
        Self::start_at(ADDRESS.parse()?, &["--storage.tsdb.path=data"], config, rules)
    }

    /// As [`Prometheus::start`], at an address of its own and with these arguments, which say where it stores.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_at(address: SocketAddr, args: &[&str], config: &str, rules: &str) -> Result<Self> {
        let program = path_from("TCPSTAT_PROMETHEUS")?;
        let listen = format!("--web.listen-address={address}");
        let own = ["--config.file=prometheus.yml", "--log.level=warn", &listen];
        let files = [("prometheus.yml", config), ("rules.yml", rules)];
        let server = Server::start(&program, &[&own, args].concat(), &files, address)?;
        Ok(Self::at(server))
    }

    /// A server that answers as Prometheus does.
    #[must_use]
    pub fn at(server: Server) -> Self {
        Self { server }
    }

    /// The server.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The answer to a PromQL expression at this moment, which must be an instant vector.
    ///
    /// # Errors
    /// Fails with the error of Prometheus.
    pub fn query(&self, expression: &str) -> Result<Vec<Series>> {
        let data = self.api("query", &[("query", expression)])?;
        ensure!(data["resultType"] == "vector", "{expression}: {data}");
        let result = data["result"].as_array().context("no result")?;
        result.iter().map(|series| parse(series).with_context(|| series.to_string())).collect()
    }

    /// Waits until `enough` accepts the answer, and returns it.
    ///
    /// # Errors
    /// Fails with the last answer if that takes longer than `deadline`.
    pub fn await_query(
        &self,
        expression: &str,
        deadline: Duration,
        enough: impl Fn(&[Series]) -> bool,
    ) -> Result<Vec<Series>> {
        poll(&format!("answer to {expression}"), deadline, REQUEST_INTERVAL, || {
            let answer = self.query(expression)?;
            if enough(&answer) {
                return Ok(Progress::Done(answer));
            }
            Ok(Progress::NotYet(format!("{answer:?}")))
        })
    }

    /// The values of `label` in the series that match `selector`.
    ///
    /// # Errors
    /// As [`Prometheus::query`].
    pub fn label_values(&self, selector: &str, label: &str) -> Result<Vec<String>> {
        let data = self.api(&format!("label/{label}/values"), &[("match[]", selector)])?;
        Ok(serde_json::from_value(data)?)
    }

    /// Its log so far: warnings and errors.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.log()
    }

    /// The field `data` of an answer of `/api/v1/`.
    ///
    /// # Errors
    /// As [`Prometheus::query`].
    pub fn api(&self, endpoint: &str, parameters: &[(&str, &str)]) -> Result<Value> {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let pairs: Vec<_> = parameters
            .iter()
            .map(|&(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        let response = self.server.get(&format!("/api/v1/{endpoint}?{}", pairs.join("&")))?;
        let mut answer: Value = serde_json::from_str(&response.body)?;
        ensure!(answer["status"] == "success", "{parameters:?}: {}", response.body);
        Ok(answer["data"].take())
    }
}

fn parse(series: &Value) -> Result<Series> {
    let labels = serde_json::from_value(series["metric"].clone())?;
    let value = series["value"][1].as_str().context("no value")?;
    Ok(Series { labels, value: value.parse()? })
}
