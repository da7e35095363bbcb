//! One evaluation by the engine, with everything that keeps it from hurting.

use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

/// How much work the engine does between two looks at the clock.
pub(crate) const CHECK_EVERY_STEPS: NonZeroU32 = match NonZeroU32::new(64) {
    Some(steps) => steps,
    None => NonZeroU32::MIN,
};

/// Longest evaluation of one rule at load.
pub(crate) const LOAD_TIME: Duration = Duration::from_secs(2);

/// Evaluates the rule at `path` within `limit`.
///
/// The engine panics on a few values that policies can make, such as printing a
/// very large integer: that ends this evaluation and nothing else, since the
/// engine is the caller's own copy.
///
/// # Errors
/// The engine's message.
pub(crate) fn rule(engine: &mut Engine, path: &str, limit: Duration) -> Result<Value, String> {
    let started = Instant::now();
    engine.set_execution_timer_config(ExecutionTimerConfig {
        limit,
        check_interval: CHECK_EVERY_STEPS,
    });
    let evaluated = catch_unwind(AssertUnwindSafe(|| engine.eval_rule(path.to_owned())));
    let value = match evaluated {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err("the engine gave up on a value that it cannot handle".to_owned()),
    };
    // One call of a builtin may run past the engine's own clock.
    if started.elapsed() > limit {
        return Err(format!("the policies took longer than {} ms", limit.as_millis()));
    }
    Ok(value)
}
