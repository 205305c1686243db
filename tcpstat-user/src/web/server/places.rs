//! The places of answers, given to whoever has the fewest connections first.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::oneshot;

/// How many answers there may be at a time, and who waits for one.
#[derive(Debug)]
pub(super) struct Places(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// In the order in which they came.
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    /// How many connections its client has.
    of_client: Arc<AtomicUsize>,
    given: oneshot::Sender<Place>,
}

/// A place. Dropping it gives it to the next.
#[derive(Debug)]
pub(super) struct Place(Option<Arc<Places>>);

impl Places {
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: places, waiters: Vec::new() })))
    }

    /// A place that is free; else a receiver of one that will be.
    ///
    /// # Errors
    /// The receiver.
    pub(super) fn ask(
        self: &Arc<Self>,
        of_client: &Arc<AtomicUsize>,
    ) -> Result<Place, oneshot::Receiver<Place>> {
        let mut state = self.locked();
        if state.free > 0 {
            state.free -= 1;
            return Ok(Place(Some(self.clone())));
        }
        let (given, place) = oneshot::channel();
        // Those who have given up make room.
        state.waiters.retain(|waiter| !waiter.given.is_closed());
        state.waiters.push(Waiter { of_client: of_client.clone(), given });
        Err(place)
    }

    /// Whether somebody waits.
    pub(super) fn is_wanted(&self) -> bool {
        self.locked().waiters.iter().any(|waiter| !waiter.given.is_closed())
    }

    /// Gives a place that has been given back to the next who waits.
    fn give(self: Arc<Self>) {
        let mut state = self.locked();
        let mut place = Place(Some(self.clone()));
        loop {
            let waiters = state.waiters.iter().enumerate();
            let next = waiters
                .min_by_key(|(_, waiter)| waiter.of_client.load(Ordering::Relaxed))
                .map(|(index, _)| index);
            let Some(next) = next else { break };
            match state.waiters.remove(next).given.send(place) {
                Ok(()) => return,
                Err(refused) => place = refused,
            }
        }
        state.free += 1;
        place.0 = None;
    }

    /// A panic leaves a state that is still right.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(places) = self.0.take() {
            places.give();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(connections: usize) -> Arc<AtomicUsize> {
        Arc::new(AtomicUsize::new(connections))
    }

    #[test]
    fn who_has_the_fewest_connections_is_first_and_else_who_came_first() {
        let places = Places::new(1);
        let taken = places.ask(&client(1)).unwrap();
        let mut many = places.ask(&client(9)).unwrap_err();
        let mut first = places.ask(&client(1)).unwrap_err();
        let mut second = places.ask(&client(1)).unwrap_err();
        drop(taken);
        assert!(many.try_recv().is_err() && second.try_recv().is_err());
        drop(first.try_recv().unwrap());
        assert!(many.try_recv().is_err() && places.is_wanted());
        drop(second.try_recv().unwrap());
        drop(many.try_recv().unwrap());
        assert!(!places.is_wanted());
        assert!(places.ask(&client(1)).is_ok());
    }

    #[test]
    fn a_place_is_lost_to_nobody_who_has_given_up() {
        let places = Places::new(1);
        let taken = places.ask(&client(1)).unwrap();
        drop(places.ask(&client(1)).unwrap_err());
        let mut waits = places.ask(&client(1)).unwrap_err();
        drop(taken);
        // Given, and never taken: it goes back.
        drop(waits.try_recv().unwrap());
        let taken = places.ask(&client(1)).unwrap();
        let unread = places.ask(&client(1)).unwrap_err();
        drop(taken);
        drop(unread);
        assert!(places.ask(&client(1)).is_ok());
    }
}
