use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const TTL_MS: i64 = ASSERTION_MAX_TTL_S as i64 * 1_000;
const MAX_AGE_MS: i64 = JWKS_MAX_AGE_S as i64 * 1_000;
/// By how much a verifier may be late with an expiry.
const LEEWAY_MS: i64 = 30_000;

fn key(kid: &str, signs_from_ms: i64) -> PlannedKey {
    PlannedKey { kid: kid.into(), file: format!("{kid}.key"), signs_from_ms }
}

fn kids(plan: &Plan, now_ms: i64) -> Vec<String> {
    plan.published(now_ms).map(|key| key.kid.clone()).collect()
}

#[test]
fn a_rotation_has_its_three_times() {
    let first = Plan::single("a", "assertion.key");
    let plan = first.rotated("b", "b.key", 1_000_000, 900_000).unwrap();
    let at = |now_ms: i64| (plan.signer(now_ms).unwrap().kid.clone(), kids(&plan, now_ms));
    let (a, b) = ("a".to_owned(), "b".to_owned());
    let both = vec![a.clone(), b.clone()];
    assert_eq!(at(900_000), (a.clone(), both.clone()));
    assert_eq!(at(999_999), (a, both.clone()));
    assert_eq!(at(1_000_000), (b.clone(), both.clone()));
    assert_eq!(at(1_000_000 + RETAIN_MS - 1), (b.clone(), both));
    assert_eq!(at(1_000_000 + RETAIN_MS), (b.clone(), vec![b]));
    assert_eq!(plan.leaves_ms("a"), Some(1_000_000 + RETAIN_MS));
    assert_eq!(plan.leaves_ms("b"), None);
}

#[test]
fn a_rotation_is_neither_too_soon_nor_on_top_of_another() {
    let first = Plan::single("a", "a.key");
    let soon = first.rotated("b", "b.key", LEAD_MIN_MS - 1, 0);
    assert_eq!(soon, Err(PlanError::TooSoon));
    let plan = first.rotated("b", "b.key", LEAD_MIN_MS, 0).unwrap();
    let again = |now_ms: i64| plan.rotated("c", "c.key", now_ms + LEAD_MIN_MS, now_ms);
    assert!(matches!(again(LEAD_MIN_MS - 1), Err(PlanError::Waiting { .. })));
    assert_eq!(again(LEAD_MIN_MS).unwrap().keys().len(), 3);
    let left = again(LEAD_MIN_MS + RETAIN_MS).unwrap();
    assert_eq!(left.keys().iter().map(|key| &*key.kid).collect::<Vec<_>>(), ["b", "c"]);
}

#[test]
fn plans_that_could_not_be_meant_are_refused() {
    assert_eq!(Plan::new(Vec::new(), false), Err(PlanError::Empty));
    let twice = Plan::new(vec![key("a", 0), key("a", 1)], false);
    assert_eq!(twice, Err(PlanError::Twice("a".into())));
    let order = Plan::new(vec![key("a", 1), key("b", 0)], false);
    assert_eq!(order, Err(PlanError::Order("b".into())));
    let many = |n: usize| Plan::new((0..n).map(|n| key(&n.to_string(), 0)).collect(), false);
    assert!(many(MAX_KEYS).is_ok());
    assert_eq!(many(MAX_KEYS + 1), Err(PlanError::TooMany));
}

#[test]
fn a_key_that_is_read_late_signs_late() {
    let known = Plan::single("a", "a.key");
    let read = known.rotated("b", "b.key", LEAD_MIN_MS, 0).unwrap();
    let prompt = known.adopting(&read, PICK_UP_MS).unwrap();
    assert_eq!(prompt, read);
    let late = known.adopting(&read, 10 * LEAD_MIN_MS).unwrap();
    assert_eq!(late.keys().last().unwrap().signs_from_ms, 10 * LEAD_MIN_MS + MAX_AGE_MS);
    assert_eq!(late.adopting(&read, 11 * LEAD_MIN_MS).unwrap(), late);
    let left = late.adopting(&read, 20 * LEAD_MIN_MS).unwrap();
    assert_eq!(kids(&left, 20 * LEAD_MIN_MS), ["b"]);
    assert_eq!(left.adopting(&read, 21 * LEAD_MIN_MS).unwrap(), left, "what left stays away");
}

#[test]
fn a_signing_key_does_not_vanish_unless_it_is_replaced_at_once() {
    let plan = Plan::single("a", "a.key").rotated("b", "b.key", LEAD_MIN_MS, 0).unwrap();
    let back = plan.adopting(&Plan::single("a", "a.key"), 2 * LEAD_MIN_MS);
    assert_eq!(back, Err(PlanError::NoSuccessor("b".into())));
    let other = plan.adopting(&Plan::single("c", "c.key"), 2 * LEAD_MIN_MS).unwrap();
    assert_eq!(other.signer(2 * LEAD_MIN_MS).unwrap().kid, "b");
    assert_eq!(other.keys().last().unwrap().kid, "c");
    let stolen = plan.adopting(&Plan::replaced("c", "c.key", 5), 6).unwrap();
    assert_eq!((kids(&stolen, 6), stolen.signer(6).unwrap().kid.as_str()), (vec!["c".into()], "c"));
}

/// A key directory, an enforcement point that follows it, and a verifier that keeps key sets for
/// as long as it may.
struct World {
    now_ms: i64,
    written: Plan,
    written_ms: i64,
    followed: Plan,
    /// When it was fetched, and the kids in it.
    held: (i64, Vec<String>),
    /// Kid and expiry.
    tokens: Vec<(String, i64)>,
    made: usize,
}

#[derive(Debug, Clone)]
enum Event {
    Pass { ms: i64 },
    Rotate { lead_ms: i64 },
    PickUp,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..3_000i64).prop_map(|ms| Event::Pass { ms }),
        4 => (0..90_000i64).prop_map(|ms| Event::Pass { ms }),
        3 => (LEAD_MIN_MS..3 * LEAD_MIN_MS).prop_map(|lead_ms| Event::Rotate { lead_ms }),
        3 => Just(Event::PickUp),
        1 => Just(Event::Restart),
    ]
}

impl World {
    fn new(now_ms: i64) -> Self {
        let plan = Plan::single("0", "assertion.key");
        Self {
            now_ms,
            written: plan.clone(),
            written_ms: now_ms,
            held: (now_ms, kids(&plan, now_ms)),
            followed: plan,
            tokens: Vec::new(),
            made: 0,
        }
    }

    /// With `prompt`, the enforcement point sees a plan in its time; and it may then start anew.
    fn happen(&mut self, event: &Event, prompt: bool) {
        match event {
            Event::Pass { ms } => {
                let seen_ms = self.written_ms + PICK_UP_MS;
                let target_ms = self.now_ms + ms;
                if prompt && (self.now_ms..=target_ms).contains(&seen_ms) {
                    self.now_ms = seen_ms;
                    self.pick_up();
                }
                self.now_ms = target_ms;
            }
            Event::Rotate { lead_ms } => {
                let kid = (self.made + 1).to_string();
                let at_ms = self.now_ms + lead_ms;
                if let Ok(plan) = self.written.rotated(&kid, "f", at_ms, self.now_ms) {
                    (self.written, self.written_ms) = (plan, self.now_ms);
                    self.made += 1;
                }
            }
            Event::PickUp => self.pick_up(),
            Event::Restart if prompt => self.followed = self.written.clone(),
            Event::Restart => {}
        }
    }

    fn pick_up(&mut self) {
        self.followed = self.followed.adopting(&self.written, self.now_ms).unwrap();
    }

    fn mint(&mut self) {
        let kid = self.followed.signer(self.now_ms).unwrap().kid.clone();
        self.tokens.push((kid, self.now_ms + TTL_MS));
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let now_ms = self.now_ms;
        let published = kids(&self.followed, now_ms);
        if now_ms - self.held.0 >= MAX_AGE_MS {
            self.held = (now_ms, published.clone());
        }
        self.tokens.retain(|(_, expires_ms)| expires_ms + LEEWAY_MS > now_ms);
        for (kid, _) in &self.tokens {
            prop_assert!(published.contains(kid), "{kid} is not in {published:?}");
            prop_assert!(self.held.1.contains(kid), "{kid} is not in the held {:?}", self.held);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_token_that_holds_has_its_key_in_the_set_and_in_every_kept_set(
        events in vec(event(), 1..120),
        start_ms in 0..4_000_000_000_000i64,
        prompt: bool,
    ) {
        let mut world = World::new(start_ms);
        for event in &events {
            world.happen(event, prompt);
            world.mint();
            world.check()?;
        }
    }
}

#[test]
fn the_rotations_of_a_day_happen() {
    let mut world = World::new(0);
    for _ in 0..100 {
        world.happen(&Event::Rotate { lead_ms: LEAD_MIN_MS }, true);
        for _ in 0..90 {
            world.happen(&Event::Pass { ms: 1_000 }, true);
            world.mint();
            world.check().unwrap();
        }
    }
    assert_eq!(world.made, 100);
    assert_eq!(world.followed.signer(world.now_ms).unwrap().kid, "100");
    assert!(world.written.keys().len() <= 4, "{:?}", world.written);
}
