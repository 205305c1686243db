//! The terminal, and the loop that keys, time and signals drive.

use std::{io, thread};

use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyEventKind},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{Flow, LogLines, Model, Source, view::Theme};

/// Keys that may wait while a frame is drawn.
const KEYS: usize = 64;

/// The terminal in the view's hands. Dropping it gives it back as it was; so does a panic.
struct Screen(DefaultTerminal);

impl Screen {
    fn take() -> io::Result<Self> {
        match ratatui::try_init() {
            Ok(terminal) => Ok(Self(terminal)),
            Err(error) => {
                // Half of it may be done.
                ratatui::restore();
                Err(error)
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where the terminal has gone there is nothing to give back.
        let _ = self.0.show_cursor();
        // After a panic that has been done already; once more would write over what it says.
        if !thread::panicking() {
            ratatui::restore();
        }
    }
}

/// Shows `model` until a key or `stopped` ends it, or `source` does.
///
/// # Errors
/// What the terminal says.
pub async fn run(
    mut source: Source,
    mut model: Model,
    theme: Theme,
    log: &LogLines,
    stopped: impl Future,
) -> io::Result<()> {
    let mut screen = Screen::take()?;
    let mut events = events()?;
    let mut stopped = std::pin::pin!(stopped);
    let mut looked = Instant::now();
    model.take(source.look());
    loop {
        model.say(log.last());
        screen.0.draw(|frame| super::view::draw(frame, &model, theme))?;
        // From the last look on, so that a new interval holds at once.
        let next = looked + if model.is_empty() { FIRST_LOOKS } else { model.interval() };
        tokio::select! {
            _ = &mut stopped => return Ok(()),
            () = source.ended() => return Ok(()),
            event = events.recv() => match event {
                None => return Ok(()),
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    if model.press(key) == Flow::Quit {
                        return Ok(());
                    }
                }
                // A new size is drawn too.
                Some(_) => {}
            },
            () = sleep_until(next) => {
                looked = Instant::now();
                model.take(source.look());
            }
        }
    }
}

/// How often it is looked for the first numbers.
const FIRST_LOOKS: std::time::Duration = std::time::Duration::from_millis(50);

/// What the terminal tells, until it goes.
fn events() -> io::Result<mpsc::Receiver<Event>> {
    let (tell, told) = mpsc::channel(KEYS);
    // It waits in read(2) when the process ends, which ends it.
    thread::Builder::new().name("keys".into()).spawn(move || {
        while let Ok(event) = event::read() {
            if tell.blocking_send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(told)
}
