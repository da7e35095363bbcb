//! A bundle of [`crate::standard`], loaded, and the decision that is measured: `plan`, `evaluate`,
//! `conclude` and digests, without state.

use lictor_policy_lib::bundle::{Files, Floor, Limits, Require, Source, Window, verify};
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::engine::{Budget, Engine, FastPath, Way};
use lictor_policy_lib::load::{LoadedBundle, Times};
use lictor_proto::call::Call;
use lictor_proto::decision::Effect;
use lictor_proto::facts::Facts;

use crate::standard::{self, Shape};

/// The moment of every decision, Unix milliseconds.
const NOW_MS: i64 = 1_800_000_000_000;

/// What is measured, by name: each bundle in the way that servers evaluate it, and those with Rego
/// by the interpreter as well.
#[must_use]
pub fn measured() -> Vec<(String, Shape, Way)> {
    let ways = |(name, shape): &(&str, Shape)| {
        let served = (name.to_string(), *shape, Way::Fastest);
        let slow = (format!("{name}, interpreter"), *shape, Way::Interpreter);
        let both = shape.standard || shape.rego > 0;
        if both { vec![served, slow] } else { vec![served] }
    };
    standard::SHAPES.iter().flat_map(ways).collect()
}

/// A bundle with a call that it allows.
#[derive(Debug)]
pub struct Ready {
    bundle: LoadedBundle,
    call: Call,
    way: Way,
}

impl Ready {
    /// What is measured under that name.
    ///
    /// # Errors
    /// There is no such name, or as [`Ready::new`].
    pub fn named(name: &str) -> Result<Self, String> {
        let found = measured().into_iter().find(|(known, ..)| known == name);
        let (_, shape, way) = found.ok_or_else(|| format!("there is no bundle `{name}`"))?;
        Self::new(&shape, way)
    }

    /// Loads the bundle and decides once, by `way` as each time after.
    ///
    /// # Errors
    /// The bundle is refused, or the call is.
    pub fn new(shape: &Shape, way: Way) -> Result<Self, String> {
        let limits = Limits::default();
        let pairs = shape.files().into_iter().map(|(name, text)| (name, text.into_bytes()));
        let files = Files::from_pairs(pairs, &limits).map_err(|error| error.to_string())?;
        let floor = Floor { min_version: 0, window: Window::Ignored };
        let source = Source::Folder(files);
        let verified = verify(source, &Require::AllowUnsigned, &floor, &limits, NOW_MS)
            .map_err(|error| error.to_string())?;
        let mut bundle = LoadedBundle::load(verified, Times::Ignored).map_err(|found| {
            found.first().map_or_else(String::new, |first| format!("{first:?}"))
        })?;
        bundle.evaluate_by(way);
        let call =
            Call::from_json(standard::call(0, 0).as_bytes()).map_err(|error| error.to_string())?;
        let ready = Self { bundle, call, way };
        if ready.decide() { Ok(ready) } else { Err("the call is denied".to_owned()) }
    }

    /// Decides; whether the call is allowed.
    #[must_use]
    pub fn decide(&self) -> bool {
        let facts = Facts::default();
        let run = dry_run(&self.bundle, &self.call, facts, NOW_MS, Budget::default());
        run.decision.effect == Effect::Allow
    }

    /// What decides.
    #[must_use]
    pub fn engines(&self) -> String {
        let named = |engine: &dyn Engine| match engine.fast_path() {
            None => engine.name().to_owned(),
            Some(FastPath::Proved(instructions)) if self.way == Way::Fastest => {
                format!("{} by the fast path ({instructions} instructions)", engine.name())
            }
            Some(FastPath::Not(slow)) if self.way == Way::Fastest => {
                format!("{} by the interpreter ({})", engine.name(), slow.why)
            }
            Some(_) => format!("{} by the interpreter", engine.name()),
        };
        let engines = self.bundle.engines().iter().filter(|engine| engine.has_policies());
        engines.map(|engine| named(engine.as_ref())).collect::<Vec<_>>().join(", ")
    }
}
