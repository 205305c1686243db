//! sockstat as the model shows it, with its errors while sockets change state.

use super::{Family, Model, Object};

/// An error of one count of sockstat that stays for some readings.
#[derive(Clone, Copy)]
pub(super) struct Stuck {
    count: (Object, Option<Family>),
    error: i64,
    readings: u64,
}

impl Model {
    /// sockstat's number of such objects, in one family or in both.
    pub(super) fn hashed(&mut self, object: Object, family: Option<Family>) -> u64 {
        let hashed = self.sockets.values().filter(|socket| {
            Object::in_state(socket.state) == object
                && family.is_none_or(|family| socket.tuple.family == family)
        });
        let hashed = hashed.count() as u64;
        if self.pace == 0 {
            self.stuck = None;
            return hashed;
        }
        if self.random.once_in(self.faults.sockstat_behind) {
            return hashed.saturating_add_signed(self.one_up_or_down());
        }
        let count = (object, family);
        if self.stuck.is_none() && self.random.once_in(self.faults.sockstat_stuck) {
            let (error, readings) = (self.one_up_or_down(), self.random.below(40));
            self.stuck = Some(Stuck { count, error, readings });
        }
        let Some(stuck) = self.stuck.as_mut().filter(|stuck| stuck.count == count) else {
            return hashed;
        };
        let error = stuck.error;
        match stuck.readings.checked_sub(1) {
            Some(left) => stuck.readings = left,
            None => self.stuck = None,
        }
        hashed.saturating_add_signed(error)
    }

    fn one_up_or_down(&mut self) -> i64 {
        1 - 2 * self.random.below(2).cast_signed()
    }
}
