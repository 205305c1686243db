//! The words for states and families, as node_exporter and its dashboards write them.

pub use tcpstat_ebpf::{Family, State};

/// node_exporter's word for `state`: the value of the label `state`.
#[must_use]
pub const fn state_word(state: State) -> &'static str {
    match state {
        State::Established => "established",
        State::SynSent => "syn_sent",
        State::SynRecv | State::NewSynRecv => "syn_recv",
        State::FinWait1 => "fin_wait1",
        State::FinWait2 => "fin_wait2",
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
    /// Both families together.
    #[must_use]
    pub fn total(&self) -> T {
        self.0.iter().copied().sum()
    }
}

/// One value for each family and each of [`State::ALL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerState<T>([[T; 11]; 2]);

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
    /// The value that `f` gives for each family and state.
    pub fn from_fn(mut f: impl FnMut(Family, State) -> T) -> Self {
        Self(Family::ALL.map(|family| State::ALL.map(|state| f(family, state))))
    }

    /// Every family, state and value, in the order of [`Family::ALL`] and [`State::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Family, State, T)> + '_ {
        Family::ALL.into_iter().flat_map(move |family| {
            State::ALL.into_iter().map(move |state| (family, state, self[(family, state)]))
        })
    }
}

/// A request (`NewSynRecv`) shows as `syn_recv`.
const fn slot(state: State) -> usize {
    match state {
        State::NewSynRecv => State::SynRecv as usize - 1,
        state => state as usize - 1,
    }
}
