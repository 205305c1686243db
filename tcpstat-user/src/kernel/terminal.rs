//! The terminal of a process that dies by a signal: without this it stays without echo, in its second
//! screen, without a cursor.

use std::{
    mem::{MaybeUninit, zeroed},
    ptr::{null, null_mut},
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use libc::{c_int, c_void, sigaction, siginfo_t, termios};

/// No bracketed paste, no style, the first screen, the cursor.
const FIRST_SCREEN: &[u8] = b"\x1b[?2004l\x1b[0m\x1b[?1049l\x1b[?25h";

/// Those that end a process by default, but for SIGKILL, which nobody can handle, SIGPIPE, which Rust
/// ignores, and SIGTERM, SIGINT and SIGHUP, at which a command ends well.
const DEADLY: [c_int; 17] = [
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
    libc::SIGSYS,
    libc::SIGTRAP,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGVTALRM,
    libc::SIGXCPU,
    libc::SIGXFSZ,
];

/// Those of an instruction that would do the same again.
const FAULTS: [c_int; 4] = [libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV];

/// Standard input and output.
const DESCRIPTORS: [c_int; 2] = [libc::STDIN_FILENO, libc::STDOUT_FILENO];

/// Whether the terminal is to be given back.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// What a handler needs; never freed, since a handler may run at any moment.
static SAVED: AtomicPtr<Saved> = AtomicPtr::new(null_mut());

struct Saved {
    /// How the terminal was set, by [`DESCRIPTORS`]; `None` for what is no terminal.
    settings: [Option<termios>; DESCRIPTORS.len()],
    /// What was done at each of [`DEADLY`]: the Rust runtime tells of a stack that has overflowed.
    actions: [sigaction; DEADLY.len()],
}

/// While it lives, a signal that ends the process gives the terminal back first, SIGKILL excepted.
#[derive(Debug)]
pub struct TerminalGuard(());

impl TerminalGuard {
    /// Remembers how the terminal is set now. One process makes one at a time.
    #[must_use]
    pub fn new() -> Self {
        let saved = Saved {
            settings: DESCRIPTORS.map(settings),
            actions: DEADLY.map(|signal| {
                // SAFETY: the structure is plain numbers and a null pointer, for which zero is a value.
                let mut action: sigaction = unsafe { zeroed() };
                // SAFETY: a null pointer changes nothing; the old action goes to a structure of that type.
                unsafe { libc::sigaction(signal, null(), &raw mut action) };
                action
            }),
        };
        let ignored = saved.actions.map(|action| action.sa_sigaction == libc::SIG_IGN);
        SAVED.store(Box::into_raw(Box::new(saved)), Ordering::Release);
        TAKEN.store(true, Ordering::Release);
        for (signal, _) in DEADLY.into_iter().zip(ignored).filter(|(_, ignored)| !ignored) {
            // SAFETY: as above.
            let mut action: sigaction = unsafe { zeroed() };
            action.sa_sigaction = on_signal as *const () as usize;
            // On the stack that the runtime keeps for overflows; no second signal meanwhile.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            // SAFETY: the handler is of the form that SA_SIGINFO asks for, and calls only functions that
            // are async-signal-safe; both structures are its own.
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
    /// The terminal has been given back. The handlers stay, and do nothing but die.
    fn drop(&mut self) {
        TAKEN.store(false, Ordering::Release);
    }
}

fn settings(descriptor: c_int) -> Option<termios> {
    let mut settings = MaybeUninit::<termios>::uninit();
    // SAFETY: it writes to a structure of that type, and says so by 0.
    let told = unsafe { libc::tcgetattr(descriptor, settings.as_mut_ptr()) };
    // SAFETY: written, as it says.
    (told == 0).then(|| unsafe { settings.assume_init() })
}

/// Gives the terminal back, and has the signal do what it would have done.
extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, _: *mut c_void) {
    // SAFETY: a pointer from Box::into_raw that is never freed, or null before there is one.
    let saved = unsafe { SAVED.load(Ordering::Acquire).as_ref() };
    if let Some(saved) = saved
        && TAKEN.swap(false, Ordering::AcqRel)
    {
        give_back(saved);
    }
    // SAFETY: the kernel gives a handler with SA_SIGINFO a structure that lives as long as it.
    let sent = unsafe { (*info).si_code } <= 0;
    let place = DEADLY.iter().position(|&deadly| deadly == signal);
    if !sent
        && FAULTS.contains(&signal)
        && let (Some(saved), Some(place)) = (saved, place)
    {
        // SAFETY: an action that sigaction gave out. The instruction is done again after the return.
        unsafe { libc::sigaction(signal, &raw const saved.actions[place], null_mut()) };
        return;
    }
    // SAFETY: both are async-signal-safe. The signal is blocked until this returns; then the process dies
    // of it.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

/// By functions that are async-signal-safe (POSIX.1-2024, 2.4.3). SIGTTOU is blocked meanwhile, so that it
/// works in the background too.
fn give_back(saved: &Saved) {
    // SAFETY: it reads as many bytes as there are. Where the terminal has gone nothing is lost.
    unsafe {
        libc::write(
            libc::STDOUT_FILENO,
            FIRST_SCREEN.as_ptr().cast::<c_void>(),
            FIRST_SCREEN.len(),
        );
    }
    for (descriptor, settings) in DESCRIPTORS.into_iter().zip(&saved.settings) {
        if let Some(settings) = settings {
            // SAFETY: it reads a structure that tcgetattr wrote.
            unsafe { libc::tcsetattr(descriptor, libc::TCSANOW, settings) };
        }
    }
}
