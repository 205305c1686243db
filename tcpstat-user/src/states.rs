//! States, families and kernel objects: their label values, and tables indexed by them.

pub use tcpstat_ebpf::{Family, State};

/// The value of the label `state`, as node_exporter writes it. States that /proc/net/tcp shows alike share one.
#[must_use]
pub const fn state_word(state: State) -> &'static str {
    match state {
        State::Established => "established",
        State::SynSent => "syn_sent",
        State::SynRecv | State::NewSynRecv => "syn_recv",
        State::FinWait1 => "fin_wait1",
        State::FinWait2 | State::FinWait2Mini => "fin_wait2",
        State::TimeWait => "time_wait",
        State::Close => "close",
        State::CloseWait => "close_wait",
        State::LastAck => "last_ack",
        State::Listen => "listen",
        State::Closing => "closing",
    }
}

/// The value of the label `family`.
#[must_use]
pub const fn family_word(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

/// A kind of kernel object that counts as a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object {
    /// `struct sock`
    Full,
    /// `struct inet_timewait_sock`
    Mini,
    /// `struct request_sock`
    Request,
}

impl Object {
    /// The kind of object that can be in `state`.
    #[must_use]
    pub const fn in_state(state: State) -> Self {
        match state {
            State::TimeWait | State::FinWait2Mini => Self::Mini,
            State::NewSynRecv => Self::Request,
            _ => Self::Full,
        }
    }
}

/// Which groups of hooks are attached. Each counts the transitions of one kind of object; the tracer always counts
/// those of full sockets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// The hooks of mini-sockets.
    pub timewait: bool,
    /// The hooks of half-open requests.
    pub requests: bool,
}

impl Hooks {
    /// Whether the transitions of `object` are counted.
    #[must_use]
    pub const fn counts(self, object: Object) -> bool {
        match object {
            Object::Full => true,
            Object::Mini => self.timewait,
            Object::Request => self.requests,
        }
    }

    /// The names of the attached groups.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let each = [(self.timewait, "timewait"), (self.requests, "requests")];
        each.into_iter().filter_map(|(counted, word)| counted.then_some(word)).collect()
    }

    /// The names of the attached groups in metrics and reports, joined by a comma; `none` if there are none.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match (self.timewait, self.requests) {
            (false, false) => "none",
            (true, false) => "timewait",
            (false, true) => "requests",
            (true, true) => "timewait,requests",
        }
    }
}

/// One value for each family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerFamily<T>(pub [T; 2]);

impl<T> std::ops::Index<Family> for PerFamily<T> {
    type Output = T;
    fn index(&self, family: Family) -> &T {
        &self.0[family as usize]
    }
}

impl<T> std::ops::IndexMut<Family> for PerFamily<T> {
    fn index_mut(&mut self, family: Family) -> &mut T {
        &mut self.0[family as usize]
    }
}

impl<T: Copy + std::iter::Sum> PerFamily<T> {
    /// The sum over both families.
    #[must_use]
    pub fn total(&self) -> T {
        self.0.iter().copied().sum()
    }
}

/// One value for each family and each of [`State::EVERY`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerState<T>([[T; State::EVERY.len()]; 2]);

impl<T> std::ops::Index<(Family, State)> for PerState<T> {
    type Output = T;
    fn index(&self, (family, state): (Family, State)) -> &T {
        &self.0[family as usize][slot(state)]
    }
}

impl<T> std::ops::IndexMut<(Family, State)> for PerState<T> {
    fn index_mut(&mut self, (family, state): (Family, State)) -> &mut T {
        &mut self.0[family as usize][slot(state)]
    }
}

impl<T: Copy> PerState<T> {
    /// Calls `f` for each family and state.
    pub fn from_fn(mut f: impl FnMut(Family, State) -> T) -> Self {
        Self(Family::ALL.map(|family| State::EVERY.map(|state| f(family, state))))
    }

    /// All values with family and state, in the order of [`Family::ALL`] and [`State::EVERY`].
    pub fn iter(&self) -> impl Iterator<Item = (Family, State, T)> + '_ {
        self.among(State::EVERY)
    }

    /// The values of the states in [`State::ALL`], with family and state.
    pub fn shown(&self) -> impl Iterator<Item = (Family, State, T)> + '_ {
        self.among(State::ALL)
    }

    /// The values of both families for the states of this kind of object.
    pub fn of(&self, object: Object) -> impl Iterator<Item = T> + '_ {
        self.iter()
            .filter(move |&(_, state, _)| Object::in_state(state) == object)
            .map(|(.., value)| value)
    }

    fn among<const N: usize>(
        &self,
        states: [State; N],
    ) -> impl Iterator<Item = (Family, State, T)> + '_ {
        Family::ALL.into_iter().flat_map(move |family| {
            states.into_iter().map(move |state| (family, state, self[(family, state)]))
        })
    }
}

impl<T: Copy + Default + std::ops::AddAssign> PerState<T> {
    /// The values as /proc/net/tcp shows them: mini-sockets in FIN_WAIT2 are added to the full sockets in that
    /// state, and requests to SYN_RECV.
    #[must_use]
    pub fn merged(&self) -> Self {
        let mut merged = *self;
        for family in Family::ALL {
            for (kind, shown) in
                [(State::FinWait2Mini, State::FinWait2), (State::NewSynRecv, State::SynRecv)]
            {
                merged[(family, kind)] = T::default();
                merged[(family, shown)] += self[(family, kind)];
            }
        }
        merged
    }
}

/// The index of a state. The kernel's numbers begin at 1; `FinWait2Mini` follows them.
const fn slot(state: State) -> usize {
    match state {
        State::FinWait2Mini => State::NewSynRecv as usize,
        state => state as usize - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_own_index() {
        let numbers = PerState::from_fn(|family, state| (family as u8) << 4 | state.number());
        for (family, state, number) in numbers.iter() {
            assert_eq!(number, (family as u8) << 4 | state.number());
            assert_eq!(State::from_number(state.number()), Some(state));
        }
        assert_eq!(numbers.iter().count(), 26);
        assert_eq!(numbers.shown().count(), 22);
    }

    #[test]
    fn merged_values_are_those_of_the_states_that_are_shown() {
        let merged = PerState::from_fn(|_, state| u64::from(state.number())).merged();
        assert_eq!(merged[(Family::Ipv4, State::FinWait2)], 5 + 14);
        assert_eq!(merged[(Family::Ipv6, State::SynRecv)], 3 + 12);
        assert_eq!(merged[(Family::Ipv6, State::TimeWait)], 6);
        let sum: u64 = merged.shown().map(|(.., value)| value).sum();
        assert_eq!(sum, merged.iter().map(|(.., value)| value).sum::<u64>());
    }
}
