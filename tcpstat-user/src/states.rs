//! States, families and kernel objects: their words, and values for each of them.

pub use tcpstat_ebpf::{Family, State};

/// The value of the label `state`: node_exporter's word.
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

/// The kernel structure that represents a socket.
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
    /// The structure of a socket in `state`.
    #[must_use]
    pub const fn in_state(state: State) -> Self {
        match state {
            State::TimeWait | State::FinWait2Mini => Self::Mini,
            State::NewSynRecv => Self::Request,
            _ => Self::Full,
        }
    }
}

/// Which objects are counted besides full sockets: those whose hooks are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Mini-sockets, by substate.
    pub timewait: bool,
    /// Half-open requests.
    pub requests: bool,
}

impl Hooks {
    /// Whether `object` is counted.
    #[must_use]
    pub const fn count(self, object: Object) -> bool {
        match object {
            Object::Full => true,
            Object::Mini => self.timewait,
            Object::Request => self.requests,
        }
    }

    /// The words for the groups of hooks that are attached.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let each = [(self.timewait, "timewait"), (self.requests, "requests")];
        each.into_iter().filter_map(|(counted, word)| counted.then_some(word)).collect()
    }

    /// One word for all groups, as the value of a label.
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
    /// The sum of both families.
    #[must_use]
    pub fn total(&self) -> T {
        self.0.iter().copied().sum()
    }
}

/// One value for each family and each state of [`State::EVERY`].
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
    /// Calls `f` for the value of each family and state.
    pub fn from_fn(mut f: impl FnMut(Family, State) -> T) -> Self {
        Self(Family::ALL.map(|family| State::EVERY.map(|state| f(family, state))))
    }

    /// Each family, state and value, in the order of [`Family::ALL`] and [`State::EVERY`].
    pub fn iter(&self) -> impl Iterator<Item = (Family, State, T)> + '_ {
        self.among(State::EVERY)
    }

    /// The same for the states that /proc/net/tcp shows: [`State::ALL`].
    pub fn shown(&self) -> impl Iterator<Item = (Family, State, T)> + '_ {
        self.among(State::ALL)
    }

    /// The values of both families in the states of such objects.
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
    /// The values as /proc/net/tcp shows them: mini-sockets in FIN_WAIT2 are part of FIN_WAIT2, requests are part of
    /// SYN_RECV.
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

/// The kernel's numbers start at 1; `FinWait2Mini` has the last place.
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
    fn every_state_has_its_own_place() {
        let numbers = PerState::from_fn(|family, state| (family as u8) << 4 | state.number());
        for (family, state, number) in numbers.iter() {
            assert_eq!(number, (family as u8) << 4 | state.number());
            assert_eq!(State::from_number(state.number()), Some(state));
        }
        assert_eq!(numbers.iter().count(), 26);
        assert_eq!(numbers.shown().count(), 22);
    }

    #[test]
    fn merged_values_have_the_states_of_proc() {
        let merged = PerState::from_fn(|_, state| u64::from(state.number())).merged();
        assert_eq!(merged[(Family::Ipv4, State::FinWait2)], 5 + 14);
        assert_eq!(merged[(Family::Ipv6, State::SynRecv)], 3 + 12);
        assert_eq!(merged[(Family::Ipv6, State::TimeWait)], 6);
        let sum: u64 = merged.shown().map(|(.., value)| value).sum();
        assert_eq!(sum, merged.iter().map(|(.., value)| value).sum::<u64>());
    }
}
