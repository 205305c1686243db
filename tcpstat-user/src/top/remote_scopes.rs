//! The scopes of a running exporter, read over HTTP while the view shows them.

use std::{
    convert::Infallible,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::{
    remote_exporter::{Client, ExporterError},
    scopes::{ScopeTable, ScopesAnswer},
};
use crate::api::{SCOPES_PATH, ScopesJson};

/// Time between two requests.
const INTERVAL: Duration = Duration::from_secs(2);

/// Without samples, a scope with all its labels has some 750 bytes, and 130 more for each listener. All network namespaces but the
/// own one have at most `--listeners-max` of these together.
const MAX_ANSWER_BYTES: u64 = 4 << 20;

const NO_HISTORY: &str = "history=false";

/// A thread that requests the scopes while they are wanted.
#[derive(Debug)]
pub(super) struct RemoteScopes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified when the scopes become wanted.
    wanted: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wanted: bool,
    /// The newest answer since they are wanted.
    newest: Option<ScopesAnswer>,
}

impl RemoteScopes {
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(client: Client) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = Arc::clone(&shared);
        // The thread ends with the process.
        thread::Builder::new().name("scopes".into()).spawn(move || thread.run(&client))?;
        Ok(Self(shared))
    }

    /// Sets whether the scopes are wanted. Returns the newest ones; `None` before they have arrived, and if they
    /// are not wanted.
    pub(super) fn newest(&self, wanted: bool) -> Option<ScopesAnswer> {
        let mut state = self.0.locked();
        if state.wanted != wanted {
            *state = State { wanted, newest: None };
            self.0.wanted.notify_all();
        }
        state.newest.clone()
    }
}

impl Shared {
    fn run(&self, client: &Client) -> Infallible {
        loop {
            let unwanted = |state: &mut State| !state.wanted;
            drop(self.wanted.wait_while(self.locked(), unwanted));
            let answer = request(client);
            let mut state = self.locked();
            if state.wanted {
                state.newest = Some(answer);
            }
            drop(state);
            thread::sleep(INTERVAL);
        }
    }

    /// After a panic the state is still consistent.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request(client: &Client) -> ScopesAnswer {
    match client.get_json::<ScopesJson>(SCOPES_PATH, Some(NO_HISTORY), MAX_ANSWER_BYTES) {
        Ok(json) => Ok(ScopeTable::all(&json)),
        Err(ExporterError::Refused { status: 404, .. }) => {
            Err(format!("the exporter has no {SCOPES_PATH}: its version is older than that of top"))
        }
        Err(error) => Err(format!("no scopes: {error}; retrying")),
    }
}
