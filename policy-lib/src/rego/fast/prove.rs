//! What a compiled program must not have: instructions whose meaning was not looked at, conditions
//! that would end more than they should, rules that can have two values.

use regorus::Value;
use regorus::rvm::instructions::{ComprehensionMode, Instruction};
use regorus::rvm::program::{Program, RuleInfo, RuleType};

use super::shape::Map;
use super::{Fault, strict};

/// Most parameters of a function; the machine silently leaves out more.
const MAX_PARAMETERS: u32 = 8;
/// The register of a rule's value.
pub(super) const RESULT: u8 = 0;

/// Looks at the whole program.
///
/// # Errors
/// The first thing that it must not have.
pub(super) fn check(program: &Program, map: &Map) -> Result<(), Fault> {
    for (at, instruction) in program.instructions.iter().enumerate() {
        if let Some(why) = refused(program, instruction) {
            return Err(Fault { at, why });
        }
        let condition =
            matches!(instruction, Instruction::Guard { .. } | Instruction::AssertEq { .. });
        if condition && !map.is_routed(at) {
            let why = "a condition in a comprehension that does not iterate";
            return Err(Fault { at, why });
        }
    }
    program.rule_infos.iter().try_for_each(|rule| check_rule(program, map, rule))
}

/// Why an instruction is not taken.
fn refused(program: &Program, instruction: &Instruction) -> Option<&'static str> {
    use Instruction as I;
    match instruction {
        I::Load { .. }
        | I::LoadTrue { .. }
        | I::LoadFalse { .. }
        | I::LoadNull { .. }
        | I::LoadBool { .. }
        | I::LoadData { .. }
        | I::LoadInput { .. }
        | I::Move { .. }
        | I::Add { .. }
        | I::Sub { .. }
        | I::Mul { .. }
        | I::Div { .. }
        | I::Mod { .. }
        | I::Eq { .. }
        | I::Ne { .. }
        | I::Lt { .. }
        | I::Le { .. }
        | I::Gt { .. }
        | I::Ge { .. }
        | I::Not { .. }
        | I::FunctionCall { .. }
        | I::Return { .. }
        | I::ObjectCreate { .. }
        | I::Index { .. }
        | I::IndexLiteral { .. }
        | I::ChainedIndex { .. }
        | I::ArrayCreate { .. }
        | I::SetNew { .. }
        | I::SetAdd { .. }
        | I::SetCreate { .. }
        | I::Contains { .. }
        | I::AssertEq { .. }
        | I::Guard { .. }
        | I::LoopStart { .. }
        | I::LoopNext { .. }
        | I::CallRule { .. }
        | I::RuleInit { .. }
        | I::DestructuringSuccess {}
        | I::RuleReturn {}
        | I::ComprehensionYield { .. }
        | I::ComprehensionEnd {} => None,
        I::ComprehensionBegin { params_index } => {
            let params = program.instruction_data.get_comprehension_begin_params(*params_index);
            match params.map(|params| &params.mode) {
                Some(ComprehensionMode::Set | ComprehensionMode::Array) => None,
                _ => Some("a comprehension of an object, whose keys can conflict"),
            }
        }
        I::BuiltinCall { params_index } => {
            let params = program.instruction_data.get_builtin_call_params(*params_index);
            let called = params.and_then(|params| program.get_builtin_info(params.builtin_index));
            let known = called.is_some_and(|builtin| strict::of(&builtin.name).is_some());
            (!known).then_some("a builtin that only the interpreter has")
        }
        I::ObjectSet { .. } => Some("a rule that makes an object, whose keys can conflict"),
        I::VirtualDataDocumentLookup { .. } => Some("a reference that may name several rules"),
        _ => Some("an instruction that was not proved"),
    }
}

/// A rule with one value must not be able to have two.
fn check_rule(program: &Program, map: &Map, rule: &RuleInfo) -> Result<(), Fault> {
    let first = rule.definitions.iter().flatten().next();
    let at = first.and_then(|pc| usize::try_from(*pc).ok()).unwrap_or_default();
    if rule.function_info.as_ref().is_some_and(|function| function.num_params > MAX_PARAMETERS) {
        return Err(Fault { at, why: "a function with more than eight parameters" });
    }
    match rule.rule_type {
        RuleType::PartialSet => return Ok(()),
        RuleType::PartialObject => {
            return Err(Fault { at, why: "a rule that makes an object, whose keys can conflict" });
        }
        RuleType::Complete => {}
    }
    let entries = rule.definitions.iter().flatten().filter_map(|pc| usize::try_from(*pc).ok());
    let values: Vec<Values<'_>> = entries.map(|entry| Values::of(program, map, entry)).collect();
    let constant = values.iter().map(|values| values.constant).collect::<Option<Vec<_>>>();
    if constant.is_some_and(|all| all.windows(2).all(|two| two.first() == two.last())) {
        return Ok(());
    }
    if values.len() > 1 {
        return Err(Fault { at, why: "a rule or function with bodies whose values can differ" });
    }
    if values.iter().any(|values| values.repeated) {
        return Err(Fault { at, why: "a value that is made anew in each round of an iteration" });
    }
    Ok(())
}

/// The values that one body can give its rule.
struct Values<'a> {
    /// The one that it always gives.
    constant: Option<Constant<'a>>,
    /// Whether it is made in a loop.
    repeated: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Constant<'a> {
    Bool(bool),
    Null,
    Literal(&'a Value),
}

impl<'a> Values<'a> {
    fn of(program: &'a Program, map: &Map, entry: usize) -> Self {
        let mut all: Vec<Option<Constant<'a>>> = Vec::new();
        let mut repeated = false;
        let body = program.instructions.iter().enumerate().skip(entry);
        let body = body.take_while(|(_, next)| !matches!(next, Instruction::RuleReturn {}));
        for (at, instruction) in body {
            if let Instruction::Move { dest: RESULT, src } = instruction {
                repeated |= map.repeats(at);
                let before = at.checked_sub(1).and_then(|before| program.instructions.get(before));
                all.push(before.and_then(|before| constant(program, before, *src)));
            }
        }
        let first = all.first().copied().flatten();
        let constant = first.filter(|first| all.iter().all(|next| *next == Some(*first)));
        Self { constant, repeated }
    }
}

/// What `instruction` puts into `register`, if that is always the same.
fn constant<'a>(
    program: &'a Program,
    instruction: &Instruction,
    register: u8,
) -> Option<Constant<'a>> {
    match instruction {
        Instruction::LoadTrue { dest } if *dest == register => Some(Constant::Bool(true)),
        Instruction::LoadFalse { dest } if *dest == register => Some(Constant::Bool(false)),
        Instruction::LoadBool { dest, value } if *dest == register => Some(Constant::Bool(*value)),
        Instruction::LoadNull { dest } if *dest == register => Some(Constant::Null),
        Instruction::Load { dest, literal_idx } if *dest == register => {
            program.literals.get(usize::from(*literal_idx)).map(Constant::Literal)
        }
        _ => None,
    }
}
