//! One run of all detectors over one text and the texts behind it.

use std::sync::Arc;

use lictor_proto::call::Origin;
use lictor_proto::decision::Severity;

use super::detectors::{BuiltIn, Detectors};
use super::hidden::reveal;
use super::hit::Hit;
use super::rules::{Rule, Sighting, Work};
use super::view::Layer;
use super::{cards, decode};

/// Most hits of one detector in one text; the last one then reaches to the end of those left out.
pub const MAX_HITS_PER_DETECTOR: usize = 256;
/// How often encodings are undone, one inside the other.
const MAX_DECODE_DEPTH: usize = 3;

/// A run over one text.
pub(crate) struct Scan<'a> {
    detectors: &'a Detectors,
    origin: Origin,
    length: usize,
    work: Work,
    hits: Vec<Hit>,
    /// Hits that give way to others of their category.
    yielding: Vec<Hit>,
}

impl<'a> Scan<'a> {
    /// What the detectors see in `text`, sorted.
    pub(crate) fn of(detectors: &'a Detectors, origin: Origin, text: &str) -> Vec<Hit> {
        let mut scan = Self {
            detectors,
            origin,
            length: text.len(),
            work: Work::whole(),
            hits: Vec::new(),
            yielding: Vec::new(),
        };
        scan.expand(&Layer::original(text), MAX_DECODE_DEPTH);
        settle(scan.hits, scan.yielding)
    }

    /// Scans a text, the text as a reader sees it, what is smuggled in it, and what its encodings stand for.
    fn expand(&mut self, layer: &Layer<'_>, depth: usize) {
        self.look(layer);
        let revealed = reveal(layer.text());
        for run in &revealed.runs {
            self.add(layer, self.detectors.hidden(run.kind), run.start, run.end);
        }
        let plain = revealed.plain.as_ref().map(|view| layer.seen_through(view));
        if let Some(plain) = &plain {
            self.look(plain);
        }
        let Some(depth) = depth.checked_sub(1) else {
            return;
        };
        if let Some(smuggled) = &revealed.smuggled {
            self.expand(&layer.seen_through(smuggled), depth);
        }
        let seen = plain.as_ref().unwrap_or(layer);
        if let Some(decoded) = decode::decode(seen.text()) {
            self.expand(&seen.seen_through(&decoded), depth);
        }
    }

    /// Runs the patterns and the card detector over one text.
    fn look(&mut self, layer: &Layer<'_>) {
        let detectors = self.detectors;
        let mut sightings = Vec::new();
        let outcome = detectors
            .rules
            .scan(self.origin, layer.text(), &mut self.work, |sighting| sightings.push(sighting));
        if outcome.is_err() {
            self.failed("patterns");
        }
        for sighting in sightings {
            match sighting {
                Sighting::Match { rule, severity, start, end } => {
                    self.add_match(layer, rule, severity, start, end)
                }
                Sighting::Unread { why, start, end } => {
                    let (start, end) = layer.in_original(start, end).unwrap_or((0, self.length));
                    self.hits.push(Hit::uninspected(why, start, end));
                }
            }
        }
        if detectors.card.active.at(self.origin).is_some() {
            cards::scan(layer.text(), |start, end| self.add(layer, &detectors.card, start, end));
        }
    }

    fn add_match(
        &mut self,
        layer: &Layer<'_>,
        rule: &Rule,
        severity: Severity,
        start: usize,
        end: usize,
    ) {
        let Some((start, end)) = self.place(layer, &rule.name, start, end) else {
            return;
        };
        let hits = if rule.yields { &mut self.yielding } else { &mut self.hits };
        hits.push(Hit {
            detector: Arc::clone(&rule.name),
            category: Arc::clone(&rule.category),
            severity,
            score: rule.score,
            start,
            end,
        });
    }

    fn add(&mut self, layer: &Layer<'_>, detector: &BuiltIn, start: usize, end: usize) {
        let Some(severity) = detector.active.at(self.origin) else {
            return;
        };
        if let Some((start, end)) = self.place(layer, &detector.name, start, end) {
            self.hits.push(Hit {
                detector: Arc::clone(&detector.name),
                category: Arc::clone(&detector.category),
                severity,
                score: 1.0,
                start,
                end,
            });
        }
    }

    /// The span of the original text; a span that has none is a fault of the detector, and is said.
    fn place(
        &mut self,
        layer: &Layer<'_>,
        detector: &str,
        start: usize,
        end: usize,
    ) -> Option<(usize, usize)> {
        let place = layer.in_original(start, end);
        if place.is_none() {
            self.failed(detector);
        }
        place
    }

    fn failed(&mut self, detector: &str) {
        self.hits.push(Hit::failed(detector, self.length));
    }
}

/// Drops repetitions and hits that give way, folds what is too much, and sorts.
fn settle(mut hits: Vec<Hit>, yielding: Vec<Hit>) -> Vec<Hit> {
    let firm = Spans::of_secrets(&hits);
    hits.extend(yielding.into_iter().filter(|hit| !firm.touch(hit)));
    hits.sort_by(|a, b| (&a.detector, a.start, b.end).cmp(&(&b.detector, b.start, a.end)));
    let mut kept: Vec<Hit> = Vec::with_capacity(hits.len());
    let mut of_detector = 0;
    for hit in hits {
        match kept.last_mut().filter(|last| last.detector == hit.detector) {
            Some(last) if hit.end <= last.end => {}
            Some(last) if of_detector == MAX_HITS_PER_DETECTOR => last.end = hit.end,
            Some(_) => {
                of_detector += 1;
                kept.push(hit);
            }
            None => {
                of_detector = 1;
                kept.push(hit);
            }
        }
    }
    kept.sort_by(|a, b| (a.start, a.end, &a.detector).cmp(&(b.start, b.end, &b.detector)));
    kept
}

/// Disjoint, sorted spans.
struct Spans(Vec<(usize, usize)>);

impl Spans {
    fn of_secrets(hits: &[Hit]) -> Self {
        let secrets = hits.iter().filter(|hit| &*hit.category == "secret");
        let mut spans: Vec<(usize, usize)> = secrets.map(|hit| (hit.start, hit.end)).collect();
        spans.sort_unstable();
        let mut merged: Vec<(usize, usize)> = Vec::with_capacity(spans.len());
        for (start, end) in spans {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        Self(merged)
    }

    /// Whether the hit shares a byte with one of the spans.
    fn touch(&self, hit: &Hit) -> bool {
        let after = self.0.partition_point(|(_, end)| *end <= hit.start);
        self.0.get(after).is_some_and(|(start, _)| *start < hit.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(detector: &str, category: &str, start: usize, end: usize) -> Hit {
        Hit {
            detector: Arc::from(detector),
            category: Arc::from(category),
            severity: Severity::High,
            score: 1.0,
            start,
            end,
        }
    }

    fn settled(hits: Vec<Hit>, yielding: Vec<Hit>) -> Vec<(String, usize, usize)> {
        settle(hits, yielding)
            .into_iter()
            .map(|h| (h.detector.to_string(), h.start, h.end))
            .collect()
    }

    fn named(name: &str, start: usize, end: usize) -> (String, usize, usize) {
        (name.to_owned(), start, end)
    }

    #[test]
    fn repetitions_and_parts_of_a_hit_go() {
        let hits = [(4, 9), (0, 3), (4, 9), (5, 7), (8, 12)].map(|(s, e)| hit("a", "x", s, e));
        let got = settled(hits.into(), vec![hit("b", "x", 5, 7)]);
        assert_eq!(got, [named("a", 0, 3), named("a", 4, 9), named("b", 5, 7), named("a", 8, 12)]);
    }

    #[test]
    fn a_weak_hit_gives_way_to_a_secret_on_the_same_bytes() {
        let firm = || vec![hit("secret/a", "secret", 10, 20), hit("pii/card", "pii", 30, 40)];
        let left = |start, end| settled(firm(), vec![hit("weak", "secret", start, end)]).len() == 3;
        assert!(!left(5, 11));
        assert!(!left(19, 25));
        assert!(!left(5, 25));
        assert!(left(5, 10));
        assert!(left(20, 25));
        assert!(left(30, 40), "a card is no secret");
    }

    #[test]
    fn too_many_hits_become_one_that_reaches_over_them() {
        let most = |count: usize| {
            (0..count).map(|i| hit("a", "x", i * 10, i * 10 + 5)).collect::<Vec<_>>()
        };
        assert_eq!(settle(most(MAX_HITS_PER_DETECTOR), Vec::new()).len(), MAX_HITS_PER_DETECTOR);
        let folded = settle(most(MAX_HITS_PER_DETECTOR + 3), vec![hit("b", "x", 1, 2)]);
        assert_eq!(folded.len(), MAX_HITS_PER_DETECTOR + 1);
        let last = folded.last().unwrap();
        let from = (MAX_HITS_PER_DETECTOR - 1) * 10;
        assert_eq!((last.start, last.end), (from, from + 35));
    }

    #[test]
    fn a_span_outside_the_text_is_a_failure_that_is_said() {
        let detectors = Detectors::compile(&super::super::Config::default()).unwrap();
        let mut scan = Scan {
            detectors: &detectors,
            origin: Origin::User,
            length: 3,
            work: Work::whole(),
            hits: Vec::new(),
            yielding: Vec::new(),
        };
        assert_eq!(scan.place(&Layer::original("abc"), "pii/card", 1, 9), None);
        let hit = scan.hits.first().unwrap();
        assert_eq!(
            (&*hit.detector, &*hit.category),
            ("detector_failed/pii/card", "detector_failed")
        );
        assert_eq!((hit.start, hit.end), (0, 3));
    }
}
