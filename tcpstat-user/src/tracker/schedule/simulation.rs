//! Audits that take turns: each namespace is a model of a kernel with faults of its own.

use super::{
    run::{MINUTE, OTHER, Run, SECOND, SMALL, Turns},
    *,
};
use crate::ledger::audit::{Audit, simulation::Model};

/// Number of runs, each with other namespaces and other faults.
const SEEDS: u64 = 5;

struct Namespace {
    model: Model,
    /// `None` before the seed.
    audit: Option<Audit>,
}

impl Namespace {
    fn new(seed: u64) -> Self {
        Self { model: Model::new(seed), audit: None }
    }

    /// Seeds or reconciles. Gives the number of snapshots.
    fn take_turn(&mut self) -> usize {
        self.model.cuts.clear();
        if let Some(audit) = &mut self.audit {
            let Ok(_) = audit.reconcile(&mut self.model);
        } else {
            let Ok((audit, _)) = Audit::seed(self.model.hooks, &mut self.model);
            self.audit = Some(audit);
        }
        self.model.cuts.len()
    }

    /// Whether every gauge is right.
    fn is_right(&self) -> bool {
        self.audit.as_ref().is_some_and(|audit| {
            audit.consistent() && audit.ledger().counted(&self.model.counted) == self.model.truth()
        })
    }
}

#[derive(Default)]
struct Namespaces(BTreeMap<NamespaceId, Namespace>);

impl Namespaces {
    fn get(&mut self, id: NamespaceId) -> &mut Namespace {
        self.0.get_mut(&id).unwrap_or_else(|| panic!("a turn of {id:?}, which has left"))
    }
}

impl Turns for Namespaces {
    fn snapshot(&mut self, id: NamespaceId) -> Duration {
        let namespace = self.get(id);
        namespace.model.run(namespace.model.pace * 20);
        SMALL * u32::try_from(namespace.take_turn()).unwrap()
    }

    fn check(&mut self, id: NamespaceId) -> bool {
        let Namespace { model, audit, .. } = self.get(id);
        model.run(model.pace);
        let differs = audit.as_mut().unwrap().sockstat_differs(model);
        if differs && id == NamespaceId::OWN {
            self.get(id).take_turn();
        }
        differs
    }
}

/// Runs five minutes of churn, in which namespaces come and go. Gives what remains.
fn after_churn(seed: u64) -> Run<Namespaces> {
    let mut run = Run::new(Namespaces::default());
    let mut own = Namespace::new(seed);
    own.take_turn();
    run.turns.0.insert(NamespaceId::OWN, own);
    for number in 1..=30 {
        let id = NamespaceId(number);
        run.turns.0.insert(id, Namespace::new(1000 * seed + number));
        run.schedule.add(id, run.now);
        // Half of them leave, each after another time: 7 generates all numbers modulo 31.
        let leaves = NamespaceId(7 * number % 31);
        run.schedule.remove(leaves);
        run.turns.0.remove(&leaves);
        run.go_on(10 * SECOND);
    }
    run
}

#[test]
fn after_any_churn_the_next_turn_of_each_namespace_leaves_no_gauge_wrong() {
    for seed in 0..SEEDS {
        let mut run = after_churn(seed);
        run.turns.0.values_mut().for_each(|namespace| namespace.model.pace = 0);
        run.go_on(OTHER.snapshot + MINUTE);
        assert_eq!(run.turns.0.len(), 16, "the own one and the half of thirty");
        for (id, namespace) in &run.turns.0 {
            assert!(namespace.is_right(), "seed {seed}: {id:?}");
        }
        let budget = SAVINGS + (run.now - run.start) / SHARE;
        // The last turn begins before the budget is spent, and takes up to five snapshots.
        assert!(run.took < budget + 5 * SMALL, "seed {seed}: {:?}", run.took);
    }
}
