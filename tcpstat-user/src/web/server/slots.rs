//! Slots for what only some connections may have at a time: given first to the client with the fewest connections.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::oneshot;

#[derive(Debug)]
pub(super) struct Slots(Mutex<State>);

#[derive(Debug)]
struct State {
    free: usize,
    /// In the order of arrival.
    waiters: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    /// Connections of its client.
    of_client: Arc<AtomicUsize>,
    sender: oneshot::Sender<Slot>,
}

/// Dropping a slot gives it to the next waiter.
#[derive(Debug)]
pub(in crate::web) struct Slot(Option<Arc<Slots>>);

impl Slots {
    pub(super) fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { free: slots, waiters: Vec::new() })))
    }

    /// A slot for a client with that many connections.
    ///
    /// # Errors
    /// If no slot is free: the receiver of one.
    pub(super) fn acquire(
        self: &Arc<Self>,
        of_client: &Arc<AtomicUsize>,
    ) -> Result<Slot, oneshot::Receiver<Slot>> {
        let mut state = self.locked();
        if state.free > 0 {
            state.free -= 1;
            return Ok(Slot(Some(self.clone())));
        }
        let (sender, receiver) = oneshot::channel();
        // Bounds the list: waiters that gave up are removed.
        state.waiters.retain(|waiter| !waiter.sender.is_closed());
        state.waiters.push(Waiter { of_client: of_client.clone(), sender });
        Err(receiver)
    }

    pub(super) fn has_waiters(&self) -> bool {
        self.locked().waiters.iter().any(|waiter| !waiter.sender.is_closed())
    }

    /// Gives a slot back: to the next waiter, if there is one.
    fn release(self: Arc<Self>) {
        let mut state = self.locked();
        let mut slot = Slot(Some(self.clone()));
        loop {
            let waiters = state.waiters.iter().enumerate();
            let next = waiters
                .min_by_key(|(_, waiter)| waiter.of_client.load(Ordering::Relaxed))
                .map(|(index, _)| index);
            let Some(next) = next else { break };
            match state.waiters.remove(next).sender.send(slot) {
                Ok(()) => return,
                Err(unsent) => slot = unsent,
            }
        }
        state.free += 1;
        slot.0 = None;
    }

    /// After a panic the state is still consistent.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(slots) = self.0.take() {
            slots.release();
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
    fn the_client_with_the_fewest_connections_is_first_then_the_one_that_came_first() {
        let slots = Slots::new(1);
        let taken = slots.acquire(&client(1)).unwrap();
        let mut many = slots.acquire(&client(9)).unwrap_err();
        let mut first = slots.acquire(&client(1)).unwrap_err();
        let mut second = slots.acquire(&client(1)).unwrap_err();
        drop(taken);
        assert!(many.try_recv().is_err() && second.try_recv().is_err());
        drop(first.try_recv().unwrap());
        assert!(many.try_recv().is_err() && slots.has_waiters());
        drop(second.try_recv().unwrap());
        drop(many.try_recv().unwrap());
        assert!(!slots.has_waiters());
        assert!(slots.acquire(&client(1)).is_ok());
    }

    #[test]
    fn a_waiter_that_gave_up_loses_no_slot() {
        let slots = Slots::new(1);
        let taken = slots.acquire(&client(1)).unwrap();
        drop(slots.acquire(&client(1)).unwrap_err());
        let mut waits = slots.acquire(&client(1)).unwrap_err();
        drop(taken);
        // Sent to a waiter that drops it.
        drop(waits.try_recv().unwrap());
        let taken = slots.acquire(&client(1)).unwrap();
        let unread = slots.acquire(&client(1)).unwrap_err();
        drop(taken);
        drop(unread);
        assert!(slots.acquire(&client(1)).is_ok());
    }
}
