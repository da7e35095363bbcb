//! Which policies can have a say in a call: those of which everything that they
//! insist on holds. What is passed over would have come out false, never an error;
//! see [`scope`](super::scope).
//!
//! Policies lie in buckets, one for each pair of marks of an action and a resource.
//! A call looks into the buckets of the marks that its action and its resource bear,
//! of which there are few, however many policies there are.

use super::marks::{ANY, Mark};
use super::scope::{Concern, Insists};

/// A bucket of more policies than this is searched by the marks of the principal.
const SCANNED_POLICIES_MAX: usize = 64;

/// The number of a policy, in the order of the bundle.
pub(super) type Number = u32;

/// The policies of a bundle by what they insist on.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// By the mark of an action: buckets by the mark of a resource, in order.
    by_action: Vec<Vec<(Mark, Bucket)>>,
    all: Vec<Insists>,
}

/// Policies by the mark of a principal, in order.
type Bucket = Vec<(Mark, Number)>;

/// The marks of whoever and whatever takes part in a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bearers<'a> {
    pub(super) principal: &'a [Mark],
    pub(super) action: &'a [Mark],
    pub(super) resource: &'a [Mark],
}

impl Index {
    /// The index of policies in their order.
    pub(super) fn new(all: Vec<Insists>) -> Self {
        let mut entries: Vec<(Mark, Mark, Mark, Number)> = Vec::new();
        for (number, insists) in (0..).zip(&all) {
            let of = |action: &Mark| (*action, insists.resource, insists.principal, number);
            entries.extend(insists.actions.iter().map(of));
        }
        entries.sort_unstable();
        entries.dedup();
        let mut by_action: Vec<Vec<(Mark, Bucket)>> = Vec::new();
        for bucket in entries.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let Some((action, resource, ..)) = bucket.first() else { continue };
            let policies = bucket.iter().map(|entry| (entry.2, entry.3)).collect();
            let at = usize::try_from(*action).unwrap_or(usize::MAX);
            if by_action.len() <= at {
                by_action.resize_with(at.saturating_add(1), Vec::new);
            }
            if let Some(buckets) = by_action.get_mut(at) {
                buckets.push((*resource, policies));
            }
        }
        Self { by_action, all }
    }

    /// Puts into `found` the policies that can hold, in order, each once. Returns
    /// how many policies were looked at.
    pub(super) fn candidates(&self, of: Bearers<'_>, found: &mut Vec<Number>) -> usize {
        found.clear();
        let mut looked_at = 0;
        for action in with_any(of.action) {
            let buckets = usize::try_from(action).ok().and_then(|at| self.by_action.get(at));
            let Some(buckets) = buckets.filter(|buckets| !buckets.is_empty()) else { continue };
            for resource in with_any(of.resource) {
                let at = buckets.binary_search_by_key(&resource, |(mark, _)| *mark);
                if let Some((_, bucket)) = at.ok().and_then(|at| buckets.get(at)) {
                    looked_at += take(bucket, of.principal, found);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        looked_at
    }

    /// The policies that concern a call, whether or not they can hold.
    pub(super) fn concerned<'a>(&'a self, of: Bearers<'a>) -> impl Iterator<Item = Number> + 'a {
        let all = (0..).zip(&self.all);
        all.filter(move |(_, insists)| insists.concern_these(of)).map(|(number, _)| number)
    }
}

/// Takes those of a bucket whose principal bears their mark; how many were looked at.
fn take(bucket: &Bucket, principal: &[Mark], found: &mut Vec<Number>) -> usize {
    if bucket.len() <= SCANNED_POLICIES_MAX {
        let borne = bucket.iter().filter(|(mark, _)| bears(principal, *mark));
        found.extend(borne.map(|(_, number)| *number));
        return bucket.len();
    }
    let before = found.len();
    for mark in with_any(principal) {
        let start = bucket.partition_point(|(of, _)| *of < mark);
        let these = bucket.iter().skip(start).take_while(|(of, _)| *of == mark);
        found.extend(these.map(|(_, number)| *number));
    }
    found.len() - before
}

impl Insists {
    fn concern_these(&self, of: Bearers<'_>) -> bool {
        match self.concern {
            Concern::Resource => bears(of.resource, self.resource),
            Concern::Action => self.actions.iter().any(|action| bears(of.action, *action)),
            Concern::Principal => bears(of.principal, self.principal),
            Concern::All => true,
        }
    }
}

fn with_any(marks: &[Mark]) -> impl Iterator<Item = Mark> + '_ {
    std::iter::once(ANY).chain(marks.iter().copied())
}

fn bears(marks: &[Mark], mark: Mark) -> bool {
    mark == ANY || marks.binary_search(&mark).is_ok()
}

#[cfg(test)]
mod tests {
    use super::{Bearers, Index, Number, SCANNED_POLICIES_MAX};
    use crate::cedar::scope::{Concern, Insists};

    fn insists(principal: u32, actions: &[u32], resource: u32, concern: Concern) -> Insists {
        Insists { principal, actions: actions.into(), resource, concern }
    }

    fn of<'a>(principal: &'a [u32], action: &'a [u32], resource: &'a [u32]) -> Bearers<'a> {
        Bearers { principal, action, resource }
    }

    fn candidates(index: &Index, of: Bearers<'_>) -> Vec<Number> {
        let mut found = vec![999];
        index.candidates(of, &mut found);
        found
    }

    #[test]
    fn what_is_insisted_on_must_be_borne() {
        let index = Index::new(vec![
            insists(0, &[0], 0, Concern::All),
            insists(0, &[1], 0, Concern::Action),
            insists(0, &[2, 1], 3, Concern::Action),
            insists(4, &[0], 3, Concern::Resource),
            insists(4, &[2], 0, Concern::Action),
            insists(5, &[], 0, Concern::Principal),
        ]);
        assert_eq!(candidates(&index, of(&[], &[], &[])), [0]);
        assert_eq!(candidates(&index, of(&[4, 5], &[1, 2], &[3])), [0, 1, 2, 3, 4]);
        assert_eq!(candidates(&index, of(&[5], &[1], &[3])), [0, 1, 2]);
        assert_eq!(candidates(&index, of(&[4], &[7], &[3])), [0, 3]);
        assert_eq!(candidates(&index, of(&[4], &[2], &[1])), [0, 4]);
        let concerned = |of| index.concerned(of).collect::<Vec<Number>>();
        assert_eq!(concerned(of(&[], &[], &[])), [0]);
        // The principal of the fifth is not asked for, since it names its action.
        assert_eq!(concerned(of(&[], &[2], &[3])), [0, 2, 3, 4]);
        assert_eq!(concerned(of(&[5], &[], &[])), [0, 5]);
    }

    #[test]
    fn a_full_bucket_is_searched_by_principal() {
        let size = u32::try_from(SCANNED_POLICIES_MAX).unwrap();
        let all = |size: u32| (1..=size).map(|n| insists(n, &[1], 0, Concern::Action)).collect();
        let (full, over) = (Index::new(all(size)), Index::new(all(size + 1)));
        let mut found = Vec::new();
        let principal = [7, 8, size + 9];
        let of = of(&principal, &[1], &[]);
        assert_eq!(full.candidates(of, &mut found), SCANNED_POLICIES_MAX);
        assert_eq!(found, [6, 7]);
        assert_eq!(over.candidates(of, &mut found), 2);
        assert_eq!(found, [6, 7]);
    }
}
