//! What the corpus knows of a socket: its states, why it closes, and where it belongs.

/// The states that sockets of the corpus are in; the words are those of the label `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    Established,
    SynSent,
    SynRecv,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
}

impl State {
    pub(super) const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynRecv => "syn_recv",
            Self::FinWait1 => "fin_wait1",
            Self::FinWait2 => "fin_wait2",
            Self::TimeWait => "time_wait",
            Self::Close => "close",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
        }
    }
}

/// The transitions that are exported and that the corpus makes.
pub(super) const TRANSITIONS: [(State, State); 12] = [
    (State::Close, State::SynSent),
    (State::SynSent, State::Established),
    (State::SynSent, State::Close),
    (State::Listen, State::SynRecv),
    (State::SynRecv, State::Established),
    (State::Established, State::FinWait1),
    (State::FinWait1, State::FinWait2),
    (State::FinWait2, State::Close),
    (State::Established, State::CloseWait),
    (State::CloseWait, State::LastAck),
    (State::LastAck, State::Close),
    (State::Close, State::Listen),
];

/// The causes of a failed connect, in the words of the label `cause`.
pub(super) const CONNECT_CAUSES: [&str; 7] =
    ["none", "refused", "timed_out", "unreachable", "no_port", "destroyed", "other"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub(super) const ALL: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        }
    }
}

/// Where a socket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Of the container whose network namespace it is in; the host's own one if none.
    pub(super) netns: Option<&'static str>,
    /// The cgroup and the local port that are counted, in the host's own namespace.
    pub(super) cgroup: Option<&'static str>,
    pub(super) port: Option<&'static str>,
}

impl Place {
    /// The labels of an alert about it, in their order, if scopes are counted.
    pub(super) fn labels(self) -> String {
        let labels = [("cgroup", self.cgroup), ("netns", self.netns), ("port", self.port)];
        let label = |(name, value): (_, Option<_>)| value.map(|value| format!("{name}={value}"));
        labels.into_iter().filter_map(label).collect::<Vec<_>>().join(", ")
    }
}

/// A socket that belongs to no counted scope.
pub(super) const HOST: Place = Place { netns: None, cgroup: None, port: None };
