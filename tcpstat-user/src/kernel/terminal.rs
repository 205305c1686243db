//! Restores the terminal if a signal ends the process. Otherwise it would keep the second screen, without
//! echo and without a cursor.

use std::{
    mem::{MaybeUninit, zeroed},
    ptr::{null, null_mut},
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use libc::{c_int, c_void, sigaction, siginfo_t, termios};

use super::{default_action::take_default_action, seccomp};

/// Turns off bracketed paste and styles, and shows the first screen and the cursor.
const FIRST_SCREEN: &[u8] = b"\x1b[?2004l\x1b[0m\x1b[?1049l\x1b[?25h";

/// Signals that end a process by default. Not SIGKILL, which cannot be handled, SIGPIPE, which Rust ignores, the real-time signals,
/// and SIGTERM, SIGINT and SIGHUP, at which a command ends normally.
const FATAL: [c_int; 18] = [
    libc::SIGABRT,
    libc::SIGALRM,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGIO,
    libc::SIGPROF,
    libc::SIGPWR,
    libc::SIGQUIT,
    libc::SIGSEGV,
    libc::SIGSTKFLT,
    libc::SIGSYS,
    libc::SIGTRAP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGVTALRM,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// Signals of a faulty instruction, which would fail again.
const FAULTS: [c_int; 4] = [libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV];

/// Standard input and output.
const DESCRIPTORS: [c_int; 2] = [libc::STDIN_FILENO, libc::STDOUT_FILENO];

static MUST_RESTORE: AtomicBool = AtomicBool::new(false);

/// What the handler needs. Never freed, because a handler can run at any moment.
static SAVED: AtomicPtr<Saved> = AtomicPtr::new(null_mut());

struct Saved {
    /// The settings of each of [`DESCRIPTORS`]; `None` if it is no terminal.
    settings: [Option<termios>; DESCRIPTORS.len()],
    /// The actions for each of [`FATAL`]. The Rust runtime has one that reports a stack overflow.
    actions: [sigaction; FATAL.len()],
}

/// While it lives, a signal that ends the process first restores the terminal. SIGKILL cannot do that.
#[derive(Debug)]
pub(crate) struct TerminalGuard(());

impl TerminalGuard {
    /// Saves the settings of the terminal, and handles the signals. A process has at most one guard at a
    /// time.
    #[must_use]
    pub(crate) fn new() -> Self {
        let saved = Saved {
            settings: DESCRIPTORS.map(settings),
            actions: FATAL.map(|signal| {
                // SAFETY: all members are numbers and a pointer that can be null, for which zero is valid.
                let mut action: sigaction = unsafe { zeroed() };
                // SAFETY: with a null pointer the action stays; the old one goes to a structure of its type.
                unsafe { libc::sigaction(signal, null(), &raw mut action) };
                action
            }),
        };
        let ignored = saved.actions.map(|action| action.sa_sigaction == libc::SIG_IGN);
        SAVED.store(Box::into_raw(Box::new(saved)), Ordering::Release);
        MUST_RESTORE.store(true, Ordering::Release);
        for (signal, _) in FATAL.into_iter().zip(ignored).filter(|(_, ignored)| !ignored) {
            // SAFETY: as above.
            let mut action: sigaction = unsafe { zeroed() };
            action.sa_sigaction = on_signal as *const () as usize;
            // On the stack that the runtime has for overflows. Other signals wait.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: the handler has the parameters that SA_SIGINFO requires, and calls only functions that
            // are async-signal-safe. `action` is valid.
            unsafe {
                libc::sigfillset(&raw mut action.sa_mask);
                libc::sigaction(signal, &raw const action, null_mut());
            }
        }
        Self(())
    }
}

impl Default for TerminalGuard {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for TerminalGuard {
    /// The caller has restored the terminal. The handlers stay, and only end the process.
    fn drop(&mut self) {
        MUST_RESTORE.store(false, Ordering::Release);
    }
}

fn settings(descriptor: c_int) -> Option<termios> {
    let mut settings = MaybeUninit::<termios>::uninit();
    // SAFETY: it writes a structure of this type, and then returns 0.
    let result = unsafe { libc::tcgetattr(descriptor, settings.as_mut_ptr()) };
    // SAFETY: it has written the structure.
    (result == 0).then(|| unsafe { settings.assume_init() })
}

/// Restores the terminal, then lets the signal do what it did before. A refused system call is no reason to end.
extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: both are those of this handler.
    if unsafe { seccomp::refuse(info, context) } {
        return;
    }
    // SAFETY: the pointer is null, or from Box::into_raw and never freed.
    let saved = unsafe { SAVED.load(Ordering::Acquire).as_ref() };
    if let Some(saved) = saved
        && MUST_RESTORE.swap(false, Ordering::AcqRel)
    {
        restore(saved);
    }
    // SAFETY: the kernel passes a handler with SA_SIGINFO a structure that is valid until it returns.
    let is_sent = unsafe { (*info).si_code } <= 0;
    let place = FATAL.iter().position(|&deadly| deadly == signal);
    if !is_sent
        && FAULTS.contains(&signal)
        && let (Some(saved), Some(place)) = (saved, place)
    {
        // SAFETY: the action is from sigaction. The instruction runs again after the handler returns.
        unsafe { libc::sigaction(signal, &raw const saved.actions[place], null_mut()) };
        return;
    }
    take_default_action(signal);
}

/// Uses only functions that are async-signal-safe (POSIX.1-2024, 2.4.3). SIGTTOU is blocked meanwhile, so
/// this works in the background too.
fn restore(saved: &Saved) {
    // SAFETY: it reads as many bytes as the constant has. If the terminal is gone the error does not matter.
    unsafe {
        libc::write(
            libc::STDOUT_FILENO,
            FIRST_SCREEN.as_ptr().cast::<c_void>(),
            FIRST_SCREEN.len(),
        );
    }
    for (descriptor, settings) in DESCRIPTORS.into_iter().zip(&saved.settings) {
        if let Some(settings) = settings {
            // SAFETY: it reads a structure that tcgetattr has written.
            unsafe { libc::tcsetattr(descriptor, libc::TCSANOW, settings) };
        }
    }
}
