use std::sync::mpsc::{Sender, channel};

use super::*;
use crate::{procfs::Procfs, states::State as TcpState};

fn question(state: TcpState) -> Question {
    Question { state, place: Place::Own }
}

/// Sends each question. The answer is the number of the reading, and of the state.
struct Counted {
    readings: u64,
    asked: Sender<Question>,
}

impl Source for Counted {
    type Reading = u64;

    fn prepare(&mut self) -> Result<(), String> {
        Ok(())
    }

    fn read(&mut self) -> Result<u64, String> {
        self.readings += 1;
        Ok(self.readings)
    }

    fn other_cpu(_: &u64) -> Duration {
        Duration::ZERO
    }

    fn answer(&self, reading: &u64, question: &Question) -> Result<Holders, String> {
        // The test may have ended.
        let _ = self.asked.send(question.clone());
        let sockets = reading * 100 + u64::from(question.state.number());
        Ok(Holders { sockets, ..Holders::default() })
    }
}

fn answering(asked: Sender<Question>) -> LocalHolders {
    let shared = Arc::new(Shared::default());
    let thread = Arc::clone(&shared);
    thread::spawn(move || thread.run(Counted { readings: 0, asked }));
    LocalHolders(shared)
}

fn await_answer(holders: &LocalHolders, wanted: &Question) -> Answer {
    loop {
        if let Some(answer) = holders.newest(Some(wanted.clone())) {
            return answer;
        }
        thread::yield_now();
    }
}

#[test]
fn a_pause_is_a_second_or_twenty_times_as_long_as_the_reading() {
    let pause = |ms| pause(Duration::from_millis(ms)).as_millis();
    assert_eq!([0, 1, 50, 51, 1_500].map(pause), [1_000, 1_000, 1_000, 1_020, 30_000]);
}

#[test]
fn nothing_is_read_before_it_is_wanted_and_each_question_gets_its_own_answer() {
    let (sender, asked) = channel();
    let holders = answering(sender);
    assert_eq!(holders.newest(None), None);
    assert!(asked.try_recv().is_err());
    for state in [TcpState::CloseWait, TcpState::Established] {
        let wanted = question(state);
        assert_eq!(
            holders.newest(Some(wanted.clone())),
            None,
            "not the answer to another question"
        );
        let answer = await_answer(&holders, &wanted);
        assert_eq!(answer.holders.unwrap().sockets % 100, u64::from(state.number()));
        assert_eq!(answer.question, wanted);
        assert_eq!(asked.recv().ok(), Some(wanted));
    }
    assert_eq!(holders.newest(None), None);
}

#[test]
fn a_reading_is_forgotten_when_nothing_is_wanted_and_the_next_one_is_a_new_one() {
    let holders = answering(channel().0);
    let wanted = question(TcpState::CloseWait);
    let reading = |answer: Answer| answer.holders.unwrap().sockets / 100;
    assert_eq!(reading(await_answer(&holders, &wanted)), 1);
    holders.newest(None);
    assert_eq!(reading(await_answer(&holders, &wanted)), 2);
}

#[test]
fn a_question_asks_for_the_state_and_the_scope() {
    let own = NetnsSelector::Inode(7);
    let ask = |place| query(&Question { state: TcpState::CloseWait, place }, &own);
    let asked = ask(Place::Own);
    assert_eq!((asked.states, asked.netns), (vec![TcpState::CloseWait], own.clone()));
    assert_eq!((asked.ports, asked.limit), (vec![], Some(MAX_ROWS)));
    let netns = Place::Netns { name: "a".to_owned(), inode: 9 };
    assert_eq!(ask(netns).netns, NetnsSelector::Inode(9));
    let port = ask(Place::Port(443));
    assert_eq!((port.ports, port.netns), (vec![443..=443], own.clone()));
    let cgroup = ask(Place::Cgroup("/a".to_owned()));
    assert_eq!((cgroup.limit, cgroup.netns), (None, own.clone()));
}

#[test]
fn the_processes_are_those_of_the_mount() {
    let source = Host::new(&Procfs::new(Procfs::DEFAULT_ROOT), PathBuf::new());
    assert_eq!(source.own, NetnsSelector::Own);
    let mount = Path::new(Procfs::DEFAULT_ROOT);
    let process = mount.join(std::process::id().to_string());
    let source = Host::new(&Procfs::new(process), PathBuf::new());
    assert_eq!(source.mount.root(), mount);
    assert!(matches!(source.own, NetnsSelector::Inode(_)), "{:?}", source.own);
    let mut none = Host::new(&Procfs::new("/nowhere"), PathBuf::new());
    let problem = none.prepare().unwrap_err();
    assert!(problem.contains("/nowhere"), "{problem}");
}
