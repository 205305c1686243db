//! Headless Chromium, driven over WebDriver by chromedriver, in the network namespace of the calling
//! thread.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};

use crate::binary::path_from;
use crate::deadline::{DEADLINE, Progress, wait_until};

/// Where chromedriver listens: every namespace has its own loopback.
const DRIVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9515);

/// The prefixes of addresses inside the browser, such as that of its start page.
const OWN_PAGES: &str = "chrome://";

/// No window, no graphics card, no user namespace, and no requests of the browser's own.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
];

/// A browser with one window. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    session: Option<Client>,
    runtime: Runtime,
    driver: Driver,
    /// Removed when the browser has ended.
    _profile: TempDir,
}

impl Browser {
    /// Starts it with a fresh profile.
    ///
    /// # Errors
    /// Fails if `TCPSTAT_CHROMEDRIVER` or `TCPSTAT_CHROMIUM` is not set, and if the browser does not run within
    /// [`DEADLINE`].
    pub fn start() -> Result<Self> {
        Self::start_with(Map::new())
    }

    /// The same, with a browser that accepts every certificate.
    ///
    /// # Errors
    /// As [`Browser::start`].
    pub fn start_insecure() -> Result<Self> {
        Self::start_with(Map::from_iter([("acceptInsecureCerts".to_owned(), Value::Bool(true))]))
    }

    fn start_with(more: Map<String, Value>) -> Result<Self> {
        let profile = tempfile::tempdir()?;
        let mut args = vec![format!("--user-data-dir={}", profile.path().display())];
        args.extend(FLAGS.map(str::to_owned));
        let mut capabilities = Map::from_iter([
            (
                "goog:chromeOptions".to_owned(),
                json!({ "binary": path_from("TCPSTAT_CHROMIUM")?, "args": args }),
            ),
            ("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL", "performance": "ALL" })),
        ]);
        capabilities.extend(more);
        let driver = Driver::start()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let session = runtime.block_on(builder.connect(&format!("http://{DRIVER}")))?;
        Ok(Self { session: Some(session), runtime, driver, _profile: profile })
    }

    /// Opens `url` and waits until the page is loaded.
    ///
    /// # Errors
    /// Fails when it cannot be loaded.
    pub fn open(&self, url: &str) -> Result<()> {
        Ok(self.runtime.block_on(self.session()?.goto(url))?)
    }

    /// Runs `script`, the body of a function, in the page, and returns its result; awaits a promise.
    ///
    /// # Errors
    /// Fails with the exception that it throws.
    pub fn run(&self, script: &str) -> Result<Value> {
        let run = self.session()?.execute(script, Vec::new());
        self.runtime.block_on(run).with_context(|| script.to_owned())
    }

    /// Runs `script` until it returns something true.
    ///
    /// # Errors
    /// Fails when it throws, and when it does not within [`DEADLINE`].
    pub fn wait(&self, what: &str, script: &str) -> Result<Value> {
        wait_until(what, DEADLINE, || {
            let value = self.run(script)?;
            let so = !matches!(value, Value::Null | Value::Bool(false)) && value != json!(0);
            Ok(if so { Progress::Done(value) } else { Progress::NotYet(value.to_string()) })
        })
    }

    /// Waits until the text of the first element that `selector` finds is `text`.
    ///
    /// # Errors
    /// Fails when there is no such element, and when it is not within [`DEADLINE`].
    pub fn wait_for_text(&self, selector: &str, text: &str) -> Result<()> {
        let script = format!("return document.querySelector({}).textContent", json!(selector));
        wait_until(&format!("{text:?} in {selector}"), DEADLINE, || {
            let found = self.run(&script)?;
            Ok(if found == text { Progress::Done(()) } else { Progress::NotYet(found.to_string()) })
        })
    }

    /// Presses keys in the focused element, one after the other.
    ///
    /// # Errors
    /// Fails if the browser refuses them.
    pub fn press(&self, keys: &[Key]) -> Result<()> {
        let strokes = keys
            .iter()
            .map(|&key| char::from(key))
            .flat_map(|value| [KeyAction::Down { value }, KeyAction::Up { value }]);
        let actions = strokes.fold(KeyActions::new("keyboard".to_owned()), InputSource::then);
        Ok(self.runtime.block_on(self.session()?.perform_actions(actions))?)
    }

    /// Runs a command of the DevTools protocol.
    ///
    /// # Errors
    /// Fails when the browser does not know it.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Result<Value> {
        self.issue("goog/cdp/execute", json!({ "cmd": command, "params": parameters }))
    }

    /// The messages on the console since the last call, as `LEVEL: MESSAGE`. A message begins with the address of
    /// its source; those of the browser's own pages are omitted.
    ///
    /// # Errors
    /// Fails if the browser returns no log.
    pub fn console(&self) -> Result<Vec<String>> {
        let mut said = Vec::new();
        for entry in self.log("browser")? {
            let message = entry["message"].as_str().context("an entry without a message")?;
            if !message.starts_with(OWN_PAGES) {
                said.push(format!("{}: {message}", entry["level"]));
            }
        }
        Ok(said)
    }

    /// Addresses that the browser has requested over the network since the last call.
    ///
    /// # Errors
    /// Fails if the browser returns no log.
    pub fn requests(&self) -> Result<Vec<String>> {
        let mut urls = Vec::new();
        for entry in self.log("performance")? {
            let text = entry["message"].as_str().context("an entry without a message")?;
            let event: Value = serde_json::from_str(text)?;
            if event["message"]["method"] == "Network.requestWillBeSent" {
                let url = event["message"]["params"]["request"]["url"].as_str();
                urls.push(url.context("a request without an address")?.to_owned());
            }
        }
        urls.retain(|url| url.starts_with("http") || url.starts_with("ws"));
        Ok(urls)
    }

    fn log(&self, kind: &str) -> Result<Vec<Value>> {
        match self.issue("se/log", json!({ "type": kind }))? {
            Value::Array(entries) => Ok(entries),
            other => bail!("the log {kind} is {other}"),
        }
    }

    fn issue(&self, path: &'static str, body: Value) -> Result<Value> {
        let answer = self.session()?.issue_cmd(Post { path, body });
        self.runtime.block_on(answer).context(path)
    }

    fn session(&self) -> Result<&Client> {
        self.session.as_ref().context("the session has ended")
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Closing the session ends Chromium; otherwise the end of the driver does.
        if let Some(Err(error)) = self.session.take().map(|it| self.runtime.block_on(it.close())) {
            eprintln!("closing the browser: {error}; {:?}", self.driver);
        }
    }
}

/// A command of chromedriver that fantoccini has no name for.
#[derive(Debug)]
struct Post {
    path: &'static str,
    body: Value,
}

impl WebDriverCompatibleCommand for Post {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/{}", session.unwrap_or_default(), self.path))
    }

    fn method_and_body(&self, _: &url::Url) -> (http::Method, Option<String>) {
        (http::Method::POST, Some(self.body.to_string()))
    }
}

/// chromedriver. Dropping it ends it, and what it has started.
#[derive(Debug)]
struct Driver(Child);

impl Driver {
    fn start() -> Result<Self> {
        let path = path_from("TCPSTAT_CHROMEDRIVER")?;
        let driver = Command::new(&path)
            .args([&format!("--port={}", DRIVER.port()), "--log-level=OFF"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", path.display()))?;
        let driver = Self(driver);
        wait_until("chromedriver that listens", DEADLINE, || {
            Ok(match TcpStream::connect(DRIVER) {
                Ok(_) => Progress::Done(()),
                Err(error) => Progress::NotYet(error.to_string()),
            })
        })?;
        Ok(driver)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // On SIGTERM it ends its browsers; both calls fail only for a process that has ended.
        let pid = i32::try_from(self.0.id()).map(Pid::from_raw);
        let _ = pid.map(|pid| kill(pid, Signal::SIGTERM));
        let _ = self.0.wait();
    }
}
