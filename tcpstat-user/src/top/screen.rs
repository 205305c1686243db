//! The terminal, and the loop that keys, time and signals drive.

use std::{
    io::{self, stdout},
    panic, process,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use ratatui::{
    DefaultTerminal,
    crossterm::{
        cursor::Show,
        event::{DisableBracketedPaste, EnableBracketedPaste},
        execute,
    },
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{Feed, Flow, LogLines, Model, keys, view::Theme};
use crate::kernel::TerminalGuard;

/// Time from one frame to the next at least: however much is typed or pasted, there is time for the rest.
const FRAME: Duration = Duration::from_millis(30);

/// How often it is looked for the first numbers.
const FIRST_LOOKS: Duration = Duration::from_millis(50);

/// Held while a frame is drawn, so that nothing is drawn after the terminal has been given back.
static DRAWING: Mutex<()> = Mutex::new(());

/// The terminal in the view's hands. Dropping it gives it back as it was; so does a panic, and so does a
/// signal that ends the process.
struct Screen {
    terminal: DefaultTerminal,
    _guard: TerminalGuard,
}

impl Screen {
    fn take() -> io::Result<Self> {
        let guard = TerminalGuard::new();
        let taken = ratatui::try_init().and_then(|terminal| {
            end_at_a_panic();
            // A paste comes marked then, and none of it is a key.
            execute!(stdout(), EnableBracketedPaste)?;
            Ok(Self { terminal, _guard: guard })
        });
        if taken.is_err() {
            // Half of it may be done.
            give_back();
        }
        taken
    }

    fn draw(&mut self, model: &Model, theme: Theme) -> io::Result<()> {
        let _drawing = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        self.terminal.draw(|frame| super::view::draw(frame, model, theme)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal's own account of it; where it has gone there is nothing to give back.
        let _ = self.terminal.show_cursor();
        // After a panic that has been done already; once more would write over what it says.
        if !thread::panicking() {
            give_back();
        }
    }
}

fn give_back() {
    // Where the terminal has gone there is nothing to give back.
    let _ = execute!(stdout(), DisableBracketedPaste, Show);
    let _ = ratatui::try_restore();
}

/// Gives the terminal back before a panic says what it has to say. One of another thread ends the process:
/// what it says would be drawn over.
fn end_at_a_panic() {
    let drawing = thread::current().id();
    // ratatui's, which gives back what ratatui took, and then the one before it.
    let tell = panic::take_hook();
    panic::set_hook(Box::new(move |what| {
        let other = thread::current().id() != drawing;
        // The drawing thread itself may hold the lock.
        let held = other.then(|| DRAWING.lock().unwrap_or_else(PoisonError::into_inner));
        // As in `give_back`.
        let _ = execute!(stdout(), DisableBracketedPaste, Show);
        tell(what);
        if held.is_some() {
            // The status of a panic of the main thread.
            process::exit(101);
        }
    }));
}

/// Shows `model` until a key or `stopped` ends it, or `source` does.
///
/// # Errors
/// What the terminal says.
pub async fn run(
    mut source: Feed,
    mut model: Model,
    theme: Theme,
    log: &LogLines,
    stopped: impl Future,
) -> io::Result<()> {
    let mut screen = Screen::take().map_err(keys::named)?;
    let mut typed = keys::typed()?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut stopped = std::pin::pin!(stopped);
    let mut looked = Instant::now();
    model.take(source.update());
    // When the next frame is due; none where nothing has changed.
    let mut frame = Some(looked);
    let mut drawn = looked;
    loop {
        // From the last look on, so that a new interval holds at once.
        let next = looked + if model.is_empty() { FIRST_LOOKS } else { model.interval() };
        tokio::select! {
            _ = &mut stopped => return Ok(()),
            () = source.ended() => return Ok(()),
            keys = typed.recv() => {
                let Some(mut keys) = keys else { return Ok(()) };
                // All that has come, and one frame for it.
                while let Ok(more) = typed.try_recv() {
                    keys.extend(more);
                }
                if keys.into_iter().any(|key| model.press(key) == Flow::Quit) {
                    return Ok(());
                }
                frame = frame.or(Some(drawn + FRAME));
            }
            _ = resized.recv() => frame = frame.or(Some(drawn + FRAME)),
            () = sleep_until(next) => {
                looked = Instant::now();
                model.take(source.update());
                frame = frame.or(Some(drawn + FRAME));
            }
            () = sleep_until(frame.unwrap_or(next)), if frame.is_some() => {
                model.say(log.last());
                screen.draw(&model, theme)?;
                drawn = Instant::now();
                frame = None;
            }
        }
    }
}
