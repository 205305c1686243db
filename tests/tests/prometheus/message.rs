//! What a message about a leak must say, and that its command leads to the process.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tcpstat_tests::binary::tcpstat;
use tcpstat_tests::mailbox::Message;

/// The leak of one service.
pub(crate) struct Leak<'a> {
    /// Its id and its name.
    pub(crate) process: (u32, &'a str),
    /// Where it listens.
    pub(crate) port: u16,
    /// The container that it is in.
    pub(crate) container: Option<&'a str>,
    /// The cgroup of the unit, which it is in unless it is in a container.
    pub(crate) unit: &'a str,
    /// The processes of the services that do not leak.
    pub(crate) others: Vec<u32>,
}

impl Leak<'_> {
    /// Checks the JSON of a webhook, and returns the description of the alert.
    pub(crate) fn ensure_in_payload(&self, body: &Value) -> Result<String> {
        let [alert] = body["alerts"].as_array().context("no alerts")?.as_slice() else {
            bail!("not one alert: {body:#}");
        };
        let labels = &alert["labels"];
        ensure!(alert["status"] == "firing" && body["status"] == "firing", "{body:#}");
        ensure!(labels["alertname"] == "TcpCloseWaitLeak", "{body:#}");
        ensure!(labels["instance"] == "127.0.0.1:10048", "{body:#}");
        ensure!(labels["netns"].as_str() == self.container, "{body:#}");
        let port = self.port.to_string();
        let of_host = |value| if self.container.is_none() { Some(value) } else { None };
        ensure!(labels["cgroup"].as_str() == of_host(self.unit), "{body:#}");
        ensure!(labels["port"].as_str() == of_host(port.as_str()), "{body:#}");
        let scope = if self.container.is_some() { "container" } else { self.unit };
        ensure!(labels["scope"] == scope, "{body:#}");
        let annotations = &alert["annotations"];
        let place = self.container.map(|name| format!(", in {name}")).unwrap_or_default();
        let summary = format!("Sockets leak in CLOSE_WAIT on 127.0.0.1{place}.");
        ensure!(annotations["summary"] == summary, "{body:#}");
        let link = "http://127.0.0.1:10048/runbook#tcpclosewaitleak";
        ensure!(annotations["runbook_url"] == link, "{body:#}");
        let text = annotations["description"].as_str().context("no description")?.to_owned();
        self.ensure_in_words(&text).with_context(|| text.clone())?;
        Ok(text)
    }

    /// The whole text, part by part.
    fn ensure_in_words(&self, text: &str) -> Result<()> {
        const OLD: &str = "for more than 5 minutes";
        let on = match self.container {
            Some(name) => {
                format!(" sockets on 127.0.0.1, in {name}, have been in CLOSE_WAIT {OLD}:")
            }
            None => format!(" sockets on 127.0.0.1 have been in CLOSE_WAIT {OLD}:"),
        };
        let (sockets, rest) = text.split_once(&on).context("no number of sockets")?;
        ensure!((10..100_000).contains(&sockets.parse::<u32>()?), "{sockets}");
        let closed = " peers have closed these connections, and a program has not.";
        let rest = rest.strip_prefix(closed).context("not what it means")?;
        let since = " The oldest has been there for ";
        let (age, rest) = until(rest, since, ". In all ")?;
        ensure_duration(age)?;
        let (all, rest) = until(rest, "", " are in CLOSE_WAIT, and their number grows by ")?;
        let aged: u32 = sockets.parse()?;
        ensure!((aged..1024).contains(&all.parse()?), "{all}");
        let (growth, rest) =
            rest.split_once(" a minute: there will be 1024, ").context("growth")?;
        // On a divided clock the readings of ages are far apart, so that the number grows in steps.
        ensure!(growth.parse::<u32>()? > 0, "{growth}");
        let limit = "the usual limit of open files of a program, in ";
        let (left, rest) = until(rest, limit, ".")?;
        ensure_duration(left)?;
        let place = match self.container {
            Some(_) => String::new(),
            None => format!(
                " Most of the new ones are in the unit {}. Their local port is {}.",
                self.unit, self.port
            ),
        };
        let rest = rest.strip_prefix(&place).context("no unit and port")?;
        let command = " To see which program has them: sudo tcpstat who close_wait";
        let netns = self.container.map(|name| format!(" --netns {name}")).unwrap_or_default();
        ensure!(rest == format!("{command}{netns}"), "{rest}");
        Ok(())
    }

    /// Checks what Alertmanager makes of it by the templates that tcpstat prints.
    pub(crate) fn ensure_in_mail(&self, message: &Message, body: &Value) -> Result<()> {
        let subject = message.header.replace("\n ", " ");
        let subject = subject.lines().find_map(|line| line.strip_prefix("Subject: "));
        let subject = subject.context("no subject")?;
        let place =
            if self.container.is_none() { format!(", in {}", self.unit) } else { String::new() };
        let expected = format!("[FIRING] Sockets leak in CLOSE_WAIT on 127.0.0.1{place}");
        ensure!(subject == expected, "{subject}");
        for annotation in ["summary", "description", "runbook_url"] {
            let text = body["alerts"][0]["annotations"][annotation].as_str().context(annotation)?;
            ensure!(message.body.contains(text), "no {annotation} in {message:#?}");
        }
        Ok(())
    }

    /// Runs the command at the end of the text, as it is written except for sudo and the path.
    pub(crate) fn ensure_command_names_it(&self, text: &str) -> Result<()> {
        let (_, arguments) = text.split_once("sudo tcpstat ").context("no command")?;
        let run = tcpstat(arguments.split(' '))?;
        ensure!(run.status == Some(0), "{arguments}: {run:?}");
        let rows: Vec<Vec<_>> = run
            .stdout
            .lines()
            .take_while(|line| !line.is_empty())
            .map(|line| line.split_whitespace().collect())
            .collect();
        let [head, rows @ ..] = rows.as_slice() else { bail!("no table: {}", run.stdout) };
        let column = |title: &str| {
            head.iter().position(|word| *word == title).with_context(|| format!("no {title}"))
        };
        let (pid, name) = self.process;
        let pid = pid.to_string();
        let row = rows.iter().find(|row| row[0] == pid);
        let row = row.with_context(|| format!("no row of {pid}: {}", run.stdout))?;
        let (states, age) = (row[column("STATES")?], row[column("OLDEST")?]);
        let port = self.port.to_string();
        ensure!(row[column("COMMAND")?] == name && states == "close_wait", "{row:?}");
        ensure!(row[column("PORTS")?] == port, "{row:?}");
        // The first leaked socket is older than a minute.
        let (minutes, seconds) = age.split_once('m').with_context(|| format!("{row:?}"))?;
        ensure!(minutes.parse::<u32>()? >= 1 && seconds.ends_with('s'), "{row:?}");
        let place = self.container.or(self.unit.strip_prefix('/')).context("no unit")?;
        ensure!(row.iter().any(|word| word.contains(place)), "no {place} in {row:?}");
        for other in &self.others {
            let other = other.to_string();
            ensure!(rows.iter().all(|row| row[0] != other), "{other}: {}", run.stdout);
        }
        ensure!(self.container.is_none() || rows.len() == 1, "{}", run.stdout);
        Ok(())
    }
}

/// What is between two texts, of which the first is the beginning, and what is after them.
fn until<'a>(text: &'a str, before: &str, after: &str) -> Result<(&'a str, &'a str)> {
    let rest = text.strip_prefix(before).with_context(|| format!("no {before:?} in {text:?}"))?;
    rest.split_once(after).with_context(|| format!("no {after:?} in {rest:?}"))
}

/// Such as `6m 12s` or `33.3s`, as Prometheus writes durations. Only seconds have a fraction, and milliseconds are none.
fn ensure_duration(text: &str) -> Result<()> {
    let is_part = |part: &str| {
        let Some((digits, unit)) = part.split_at_checked(part.len().saturating_sub(1)) else {
            return false;
        };
        let is_number = |digits: &str| digits.parse::<u32>().is_ok();
        match (unit, digits.split_once('.')) {
            ("s", Some((whole, fraction))) => is_number(whole) && is_number(fraction),
            ("d" | "h" | "m" | "s", None) => is_number(digits),
            _ => false,
        }
    };
    ensure!(text.split(' ').all(is_part), "{text} is no duration");
    Ok(())
}
