//! The terminal, and the loop that handles keys, time and signals.

use std::{
    io::{self, IsTerminal as _, stdout},
    mem::ManuallyDrop,
    panic, process,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use ratatui::{
    Frame, Terminal, TerminalOptions, Viewport,
    crossterm::{
        cursor::Show,
        event::{DisableBracketedPaste, EnableBracketedPaste},
        execute,
        terminal::{EnterAlternateScreen, enable_raw_mode},
    },
    layout::{Rect, Size},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::{
    Feed, Flow, LastLogLine, Model,
    backend::TerminalBackend,
    keys,
    view::{self, Theme},
};
use crate::kernel::TerminalGuard;

/// Minimum time between two frames: typing or pasting does not delay the rest.
const FRAME_INTERVAL: Duration = Duration::from_millis(30);

/// Time between two updates until what the view shows has arrived.
const FIRST_INTERVAL: Duration = Duration::from_millis(50);

/// Most columns and rows that are drawn: more than a screen shows. A terminal can claim any size, and each place takes memory.
const MAX_SIZE: Size = Size::new(1_000, 400);

/// Held while a frame is drawn, so that nothing is drawn after the terminal is restored.
static DRAWING: Mutex<()> = Mutex::new(());

/// The terminal while the view is shown. Dropping it restores the terminal; so does a panic, or a signal that
/// ends the process.
struct Screen {
    /// Not dropped: its `Drop` prints if it cannot show the cursor, and that panics if standard error is the terminal that has
    /// gone.
    terminal: ManuallyDrop<Terminal<TerminalBackend>>,
    _guard: TerminalGuard,
}

impl Screen {
    fn open() -> io::Result<Self> {
        let guard = TerminalGuard::new();
        restore_on_panic();
        let opened = Self::enter();
        if opened.is_err() {
            // Part of it may have succeeded.
            restore();
        }
        let terminal = ManuallyDrop::new(opened?);
        Ok(Self { terminal, _guard: guard })
    }

    fn enter() -> io::Result<Terminal<TerminalBackend>> {
        enable_raw_mode()?;
        // The terminal then marks a paste, so that its characters are not taken for keys.
        execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)?;
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::ZERO) };
        Terminal::with_options(TerminalBackend::new(), options)
    }

    fn draw(&mut self, model: &mut Model, theme: Theme) -> io::Result<()> {
        let _drawing = DRAWING.lock().unwrap_or_else(PoisonError::into_inner);
        let area = drawn(self.terminal.size()?);
        if area != self.terminal.get_frame().area() {
            self.terminal.resize(area)?;
        }
        let draw = |frame: &mut Frame<'_>| {
            view::fit(model, frame.area(), theme);
            view::draw(frame, model, theme);
        };
        self.terminal.draw(draw).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // These fail if the terminal has gone: then there is nothing to restore.
        let _ = self.terminal.show_cursor();
        // The panic hook has restored it already; a second time would overwrite the panic's message.
        if !thread::panicking() {
            restore();
        }
    }
}

/// The part of a terminal of that size that is drawn. The rest stays empty.
fn drawn(size: Size) -> Rect {
    Rect::new(0, 0, size.width.min(MAX_SIZE.width), size.height.min(MAX_SIZE.height))
}

/// Whether what was a terminal is none any more. Then nobody sees the view, and no error of it matters.
fn has_gone() -> bool {
    !stdout().is_terminal()
}

fn restore() {
    // See above.
    let _ = execute!(stdout(), DisableBracketedPaste, Show);
    let _ = ratatui::try_restore();
}

/// Installs a panic hook that restores the terminal before the panic's message is written. A panic of another
/// thread ends the process, because the view would draw over the message.
fn restore_on_panic() {
    let drawing_thread = thread::current().id();
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let other = thread::current().id() != drawing_thread;
        // Not on the drawing thread, which may hold the lock.
        let lock = other.then(|| DRAWING.lock().unwrap_or_else(PoisonError::into_inner));
        restore();
        previous(info);
        if lock.is_some() {
            // The status of a panic of the main thread.
            process::exit(101);
        }
    }));
}

/// Shows `model` until a key is pressed to quit, or until `stopped`, `feed` or the terminal ends.
///
/// # Errors
/// If the terminal fails.
pub(crate) async fn run(
    feed: Feed,
    model: Model,
    theme: Theme,
    log: &LastLogLine,
    stopped: impl Future,
) -> io::Result<()> {
    match show_until(feed, model, theme, log, stopped).await {
        Err(_) if has_gone() => Ok(()),
        shown => shown,
    }
}

async fn show_until(
    mut feed: Feed,
    mut model: Model,
    theme: Theme,
    log: &LastLogLine,
    stopped: impl Future,
) -> io::Result<()> {
    let mut screen = Screen::open().map_err(keys::named)?;
    let mut typed = keys::typed()?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut stopped = std::pin::pin!(stopped);
    let mut last_update = Instant::now();
    update(&mut model, &mut feed);
    // When the next frame is due; `None` if nothing has changed.
    let mut frame = Some(last_update);
    let mut last_frame = last_update;
    loop {
        // Computed from the last update, so that a new interval takes effect at once.
        let interval = if model.waits() { FIRST_INTERVAL } else { model.interval() };
        let next = last_update + interval;
        tokio::select! {
            _ = &mut stopped => return Ok(()),
            () = feed.ended() => return Ok(()),
            keys = typed.recv() => {
                let Some(mut keys) = keys else { return Ok(()) };
                // One frame for all keys that have arrived.
                while let Ok(more) = typed.try_recv() {
                    keys.extend(more);
                }
                if keys.into_iter().any(|key| model.press(key) == Flow::Quit) {
                    return Ok(());
                }
                show(&mut model, &feed);
                frame = frame.or(Some(last_frame + FRAME_INTERVAL));
            }
            _ = resized.recv() => frame = frame.or(Some(last_frame + FRAME_INTERVAL)),
            () = sleep_until(next) => {
                last_update = Instant::now();
                update(&mut model, &mut feed);
                frame = frame.or(Some(last_frame + FRAME_INTERVAL));
            }
            () = sleep_until(frame.unwrap_or(next)), if frame.is_some() => {
                model.set_message(log.get());
                screen.draw(&mut model, theme)?;
                last_frame = Instant::now();
                frame = None;
            }
        }
    }
}

fn update(model: &mut Model, feed: &mut Feed) {
    model.add(feed.update());
    show(model, feed);
}

/// Gives `model` what its view asks for.
fn show(model: &mut Model, feed: &Feed) {
    model.set_scopes(feed.scopes(model.wants_scopes()));
    model.set_holders(feed.holders(model.wanted_holders()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_of_any_size_is_drawn_in_bounded_memory() {
        assert_eq!(drawn(Size::new(80, 24)), Rect::new(0, 0, 80, 24));
        assert_eq!(drawn(Size::new(0, 0)), Rect::ZERO);
        for size in [(u16::MAX, u16::MAX), (5_000, 13_108), (2_000, 32_768)] {
            assert_eq!(drawn(size.into()), Rect::new(0, 0, MAX_SIZE.width, MAX_SIZE.height));
        }
        assert_eq!(drawn(Size::new(u16::MAX, 24)), Rect::new(0, 0, MAX_SIZE.width, 24));
    }
}
