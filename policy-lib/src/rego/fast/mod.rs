//! The engine's virtual machine as a fast path, for programs that are proved safe for it. The
//! strict interpreter stays the meaning of Rego: the machine either gives the answer that the
//! interpreter would, or it declines, and then the interpreter is asked.
//!
//! The machine by itself fails open: where the interpreter reports an error it gives no value, so
//! that a denial silently does not fire. What is done about it, in the order that data flows:
//!
//! - [`subset`]: the rules that can be reached use only forms of the language whose meaning is the
//!   same for both.
//! - [`shape`]: where loops and comprehensions of the compiled program begin and end.
//! - [`prove`]: only known instructions; no condition that would leave more than its own
//!   comprehension; no rule with two values that can differ.
//! - [`rewrite`]: what can fail while a program runs is replaced by a call that declines: builtins,
//!   arithmetic, loops over what is no collection, values that are missing.
//! - [`strict`]: these calls. A call that declines ends the evaluation like a used up limit, which
//!   is all that the machine never swallows.
//!
//! A machine is made for each evaluation and dropped after it: none keeps a caller's input or an
//! old bundle alive.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lictor_proto::call::Phase;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::instructions::Instruction;
use regorus::rvm::program::Program;
use regorus::rvm::vm::RegoVM;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::generate::Generated;
use super::load::entry_paths;
use super::names::RESERVED;
use super::place::{Place, engine_message};
use super::run::CHECK_EVERY_STEPS;
use super::source::Policy;
use super::walk::head_name;
use crate::engine::Slow;

mod prove;
mod rewrite;
mod shape;
mod strict;
mod subset;
#[cfg(test)]
mod tests;

/// Most instructions of one evaluation; the interpreter takes over what needs more.
pub(crate) const MAX_INSTRUCTIONS: usize = 200_000;

/// A program that was proved, with the data that it reads.
pub(crate) struct Fast {
    program: Arc<Program>,
    data: Value,
    entries: Vec<(Phase, usize)>,
}

impl Fast {
    /// Compiles and proves what serves the phases.
    ///
    /// # Errors
    /// Why the interpreter has to be asked, and which line is the cause.
    pub(crate) fn prepare(
        policies: &[Policy],
        engine: &Engine,
        generated: &Generated,
    ) -> Result<Self, Slow> {
        let paths = entry_paths();
        let names: Vec<&str> = paths.iter().map(|(_, path)| path.as_str()).collect();
        let program = compile(engine, &names).map_err(|text| refused(&text, generated))?;
        let reached: BTreeSet<&str> =
            program.rule_infos.iter().map(|rule| rule.name.as_str()).collect();
        subset::check(policies, &reached)?;
        let written = Written { policies, generated, program: &program };
        let map = shape::read(&program).map_err(|fault| written.told(&fault))?;
        prove::check(&program, &map).map_err(|fault| written.told(&fault))?;
        let program = rewrite::strict(&program, &map).map_err(|fault| written.told(&fault))?;
        if let Err(why) = program.validate_limits() {
            return Err(Slow::too_large(why));
        }
        let entries = paths
            .iter()
            .map(|(phase, path)| Some((*phase, program.entry_points.get_index_of(path)?)))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Slow::new("", "the program lacks an entry"))?;
        Ok(Self { program: Arc::new(program), data: engine.get_data(), entries })
    }

    /// How many instructions the program has.
    pub(crate) fn instructions(&self) -> usize {
        self.program.instructions.len()
    }

    /// What the rules of `phase` say about `input`; nothing if the interpreter has to be asked.
    pub(crate) fn ask(&self, phase: Phase, input: Value, limit: Duration) -> Option<Value> {
        let started = Instant::now();
        let (_, entry) = self.entries.iter().find(|(own, _)| *own == phase)?;
        let run = AssertUnwindSafe(|| {
            let mut machine = RegoVM::new();
            machine.load_program(Arc::clone(&self.program));
            // Errors are limits here, which are never swallowed; the machine's own strict mode
            // would swallow comparisons of values of different types.
            machine.set_strict_builtin_errors(false);
            machine.set_max_instructions(MAX_INSTRUCTIONS);
            machine.set_execution_timer_config(Some(ExecutionTimerConfig {
                limit,
                check_interval: CHECK_EVERY_STEPS,
            }));
            machine.set_data(self.data.clone()).ok()?;
            machine.set_input(input);
            machine.execute_entry_point_by_index(*entry).ok()
        });
        let answer = catch_unwind(run).ok()??;
        (is_whole(&answer) && started.elapsed() <= limit).then_some(answer)
    }
}

/// Whether every element that was said is there. Nothing of a proved program makes one that is
/// not; should one be met all the same, the interpreter decides.
fn is_whole(answer: &Value) -> bool {
    let Value::Array(rules) = answer else { return false };
    rules.iter().all(|rule| match rule {
        Value::Array(copies) => copies.iter().all(|copy| match copy {
            Value::Object(members) => members.iter().all(|(_, member)| match member {
                Value::Array(heads) => heads.iter().all(|head| *head != Value::Undefined),
                other => *other != Value::Undefined,
            }),
            _ => false,
        }),
        _ => false,
    })
}

fn compile(engine: &Engine, entries: &[&str]) -> Result<Arc<Program>, String> {
    let first = entries.first().copied().unwrap_or_default();
    let mut engine = engine.clone();
    let compiled = catch_unwind(AssertUnwindSafe(|| {
        let policy = engine.compile_with_entrypoint(&first.into()).map_err(|e| e.to_string())?;
        Compiler::compile_from_policy(&policy, entries).map_err(|error| error.to_string())
    }));
    compiled.unwrap_or_else(|_| Err("the program cannot be compiled".to_owned()))
}

/// What the machine's compiler does not take.
fn refused(text: &str, generated: &Generated) -> Slow {
    let place = Place::find(text).map(|place| generated.original(place));
    let policy = place.map(|place| place.policy()).unwrap_or_default();
    let said = engine_message(text);
    if said.contains("exceeds max") || said.contains("egister") && said.contains("limit") {
        return Slow::too_large(said);
    }
    Slow::new(&policy, &said)
}

/// Why a compiled program is not taken, at one of its instructions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    at: usize,
    why: &'static str,
}

/// Where the instructions of a program come from.
struct Written<'a> {
    policies: &'a [Policy],
    generated: &'a Generated,
    program: &'a Program,
}

impl Written<'_> {
    fn told(&self, fault: &Fault) -> Slow {
        Slow::new(&self.place(fault.at).unwrap_or_default(), fault.why)
    }

    /// The user's own line of an instruction. The program numbers its files in an order of its own,
    /// so the file is found by the rule.
    fn place(&self, at: usize) -> Option<String> {
        let line = u32::try_from(self.program.get_instruction_span(at)?.line).ok()?;
        let index = rule_at(self.program, at)?;
        let path = &self.program.rule_infos.get(index)?.name;
        let (package, name) = path.strip_prefix("data.")?.rsplit_once('.')?;
        let own = name.strip_prefix(RESERVED).and_then(|own| own.strip_prefix('_')).unwrap_or(name);
        let defining = self.policies.iter().filter(|policy| {
            let rules = &policy.module.policy;
            policy.package.join(".") == package
                && rules.iter().any(|rule| head_name(rule).is_some_and(|(head, _)| head == own))
        });
        let places = defining.filter_map(|policy| {
            let served = self.generated.served.iter().find(|served| served.name == policy.name)?;
            let line = served.original_line(line);
            let begins = policy.module.policy.iter().map(|rule| rule.span().line);
            let nearest = begins.filter(|begins| *begins <= line).max()?;
            Some((line - nearest, format!("{}:{line}", policy.name)))
        });
        places.min().map(|(_, place)| place)
    }
}

/// The rule that an instruction belongs to: that of the next body's begin before it, or, where
/// parameters are bound, after it.
fn rule_at(program: &Program, at: usize) -> Option<usize> {
    let rule = |instruction: &Instruction| match instruction {
        Instruction::RuleInit { rule_index, .. } => Some(usize::from(*rule_index)),
        _ => None,
    };
    let before = program.instructions.get(..=at)?.iter().rev();
    let mut before = before.take_while(|next| !matches!(next, Instruction::RuleReturn {}));
    let after = program.instructions.iter().skip(at);
    before.find_map(rule).or_else(|| after.filter_map(rule).next())
}
