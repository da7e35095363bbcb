//! A proved program with everything that can fail while it runs replaced by calls that decline.
//! Instructions are put in front of others, and every jump follows.
//!
//! - builtins and arithmetic become strict calls in the same place;
//! - a loop begins with a look at what it runs over: the interpreter refuses what is no collection;
//! - `input` and `data` are loaded where a rule begins: the compiler loads them once for a body,
//!   also where that once is inside of a loop that may have no rounds;
//! - a name that gets no value ends its body, where the machine goes on without one;
//! - what a comprehension collects must be there; a set that is told of nothing declines, since the
//!   interpreter then reports an error, or forgets the set;
//! - a number that finds nothing as a key under `data` declines: there the interpreter tries its
//!   text as well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use regorus::rvm::instructions::{
    BuiltinCallParams, GuardMode, Instruction, LiteralOrRegister, LoopMode,
};
use regorus::rvm::program::{BuiltinInfo, Program};

use super::super::names::RESERVED;
use super::prove::RESULT;
use super::shape::Map;
use super::{Fault, strict};

/// The strict form of a program that was proved.
///
/// # Errors
/// What cannot be made strict.
pub(super) fn strict(program: &Program, map: &Map) -> Result<Program, Fault> {
    let mut writer = Writer::new(program.clone());
    writer.resolve_builtins()?;
    let mut place = Place::default();
    for (at, instruction) in program.instructions.iter().enumerate() {
        place.enter(program, at, instruction)?;
        rewrite(&mut writer, program, map, &mut place, at, instruction)?;
    }
    writer.finish()
}

/// What is known at one instruction.
#[derive(Default)]
struct Place {
    /// The rule that it belongs to, and two registers that the rule does not use.
    rule: Option<(usize, u8, u8)>,
    /// Where the rule's body begins.
    begins: usize,
    /// Registers that hold `data` or what a rule gave.
    data: BTreeSet<u8>,
    /// Registers that were bound to a value that is there.
    bound: BTreeSet<u8>,
}

impl Place {
    fn enter(
        &mut self,
        program: &Program,
        at: usize,
        instruction: &Instruction,
    ) -> Result<(), Fault> {
        match instruction {
            Instruction::RuleInit { rule_index, .. } => {
                let index = usize::from(*rule_index);
                let registers = program.rule_infos.get(index).map(|rule| rule.num_registers);
                let scratch = registers.and_then(|own| Some((own, own.checked_add(1)?)));
                let why = "a rule with too many values";
                let (first, second) = scratch.ok_or(Fault { at, why })?;
                let rule = Some((index, first, second));
                *self = Self { rule, begins: at + 1, ..Self::default() };
            }
            Instruction::RuleReturn {} => *self = Self::default(),
            _ => {}
        }
        Ok(())
    }

    fn scratch(&self, at: usize) -> Result<(u8, u8), Fault> {
        let why = "a check that belongs to no rule";
        self.rule.map(|(_, first, second)| (first, second)).ok_or(Fault { at, why })
    }
}

fn rewrite(
    writer: &mut Writer,
    program: &Program,
    map: &Map,
    place: &mut Place,
    at: usize,
    instruction: &Instruction,
) -> Result<(), Fault> {
    use Instruction as I;
    let data = &program.instruction_data;
    match instruction {
        I::Add { dest, left, right } => writer.replace(at, strict::ADD, *dest, &[*left, *right]),
        I::Sub { dest, left, right } => {
            writer.replace(at, strict::SUBTRACT, *dest, &[*left, *right])
        }
        I::Mul { dest, left, right } => {
            writer.replace(at, strict::MULTIPLY, *dest, &[*left, *right])
        }
        I::Div { dest, left, right } => writer.replace(at, strict::DIVIDE, *dest, &[*left, *right]),
        I::Mod { dest, left, right } => {
            writer.replace(at, strict::REMAINDER, *dest, &[*left, *right])
        }
        I::LoopStart { params_index } => {
            if let Some(params) = data.get_loop_params(*params_index) {
                let look = writer.call(strict::COLLECTION, params.collection, &[params.collection]);
                writer.before(at, [look]);
            }
            Ok(())
        }
        I::Move { dest, .. } if *dest != RESULT => {
            place.bound.insert(*dest);
            let next = program.instructions.get(at + 1);
            let guarded = matches!(next, Some(I::Guard { register, mode: GuardMode::NotUndefined }) if register == dest);
            if guarded { Ok(()) } else { writer.must_be_there(map, place, (at, at + 1), *dest) }
        }
        I::ComprehensionYield { value_reg, .. } if !place.bound.contains(value_reg) => {
            writer.must_be_there(map, place, (at, at), *value_reg)
        }
        I::SetAdd { value, .. } if !is_copy(program, place) => {
            writer.decline_without(place, at, *value)
        }
        I::LoadInput { .. } => writer.load_early(place, at, instruction),
        I::LoadData { dest } => {
            place.data.insert(*dest);
            writer.load_early(place, at, instruction)
        }
        I::CallRule { dest, .. } => {
            place.data.insert(*dest);
            Ok(())
        }
        I::Index { dest, container, key } if place.data.contains(container) => {
            writer.no_number(place, at, *dest, &[*key])
        }
        I::ChainedIndex { params_index } => {
            let params = data.chained_index_params.get(usize::from(*params_index));
            match params.filter(|params| place.data.contains(&params.root)) {
                Some(params) => {
                    let keys: Vec<u8> = params.path_components.iter().filter_map(key_of).collect();
                    writer.no_number(place, at, params.dest, &keys)
                }
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Whether the rule is a copy of the loader's, whose elements are always there.
fn is_copy(program: &Program, place: &Place) -> bool {
    let rule = place.rule.and_then(|(rule, ..)| program.rule_infos.get(rule));
    rule.and_then(|rule| rule.name.rsplit('.').next())
        .is_some_and(|name| name.starts_with(RESERVED))
}

fn key_of(component: &LiteralOrRegister) -> Option<u8> {
    match component {
        LiteralOrRegister::Register(register) => Some(*register),
        LiteralOrRegister::Literal(_) => None,
    }
}

/// A program while it is rewritten.
struct Writer {
    program: Program,
    /// What stands in front of an instruction, by its place in the old program.
    before: BTreeMap<usize, Vec<Instruction>>,
    /// Places that must not be jumped to, since what stands in front of them belongs to the one
    /// before.
    not_a_target: BTreeSet<usize>,
    /// Own calls in the program's table.
    own: BTreeMap<&'static str, u16>,
    /// Rules that use two registers more.
    widened: BTreeSet<usize>,
}

impl Writer {
    fn new(program: Program) -> Self {
        Self {
            program,
            before: BTreeMap::new(),
            not_a_target: BTreeSet::new(),
            own: BTreeMap::new(),
            widened: BTreeSet::new(),
        }
    }

    /// Puts the strict forms into the table.
    fn resolve_builtins(&mut self) -> Result<(), Fault> {
        let names = self.program.builtin_info_table.iter().map(|info| strict::of(&info.name));
        let why = "a builtin that only the interpreter has";
        let calls = names.collect::<Option<Vec<_>>>().ok_or(Fault { at: 0, why })?;
        self.program.resolved_builtins = calls;
        Ok(())
    }

    /// A call of our own.
    fn call(&mut self, name: &'static str, dest: u8, args: &[u8]) -> Instruction {
        let builtin_index = match self.own.get(name) {
            Some(index) => *index,
            None => self.add_own(name),
        };
        let mut all = [0; 8];
        for (slot, arg) in all.iter_mut().zip(args) {
            *slot = *arg;
        }
        let num_args = u8::try_from(args.len()).unwrap_or(u8::MAX);
        let params = BuiltinCallParams { dest, builtin_index, num_args, args: all };
        Instruction::BuiltinCall { params_index: self.program.add_builtin_call_params(params) }
    }

    fn add_own(&mut self, name: &'static str) -> u16 {
        let called = strict::own(name);
        let num_args = called.map_or(0, |(_, arity)| u16::from(arity));
        let index = self.program.add_builtin_info(BuiltinInfo { name: name.to_owned(), num_args });
        // Without a function the machine would not start, and the interpreter is asked.
        self.program.resolved_builtins.extend(called);
        self.own.insert(name, index);
        index
    }

    fn before(&mut self, at: usize, instructions: impl IntoIterator<Item = Instruction>) {
        self.before.entry(at).or_default().extend(instructions);
    }

    fn replace(
        &mut self,
        at: usize,
        name: &'static str,
        dest: u8,
        args: &[u8],
    ) -> Result<(), Fault> {
        let call = self.call(name, dest, args);
        let why = "the compiled program has an unexpected shape";
        *self.program.instructions.get_mut(at).ok_or(Fault { at, why })? = call;
        Ok(())
    }

    /// Loads what `instruction` loads where the body begins, too.
    fn load_early(
        &mut self,
        place: &Place,
        at: usize,
        instruction: &Instruction,
    ) -> Result<(), Fault> {
        if place.rule.is_none() {
            return Err(Fault { at, why: "a load that belongs to no rule" });
        }
        if place.begins < at {
            self.before(place.begins, [*instruction]);
        }
        Ok(())
    }

    /// In front of `put`, on behalf of the instruction `at`: ends the body if `register` has no
    /// value, or declines where the machine would end more than that.
    fn must_be_there(
        &mut self,
        map: &Map,
        place: &Place,
        (at, put): (usize, usize),
        register: u8,
    ) -> Result<(), Fault> {
        if put != at {
            self.not_a_target.insert(put);
        }
        if map.is_routed(at) {
            let guard = Instruction::Guard { register, mode: GuardMode::NotUndefined };
            self.before(put, [guard]);
            return Ok(());
        }
        self.decline_at(place, (at, put), register)
    }

    /// In front of the instruction `at`: declines if `register` has no value.
    fn decline_without(&mut self, place: &Place, at: usize, register: u8) -> Result<(), Fault> {
        self.decline_at(place, (at, at), register)
    }

    fn decline_at(
        &mut self,
        place: &Place,
        (at, put): (usize, usize),
        register: u8,
    ) -> Result<(), Fault> {
        let (first, second) = self.widen(place, at)?;
        let look = [
            self.call(strict::DEFINED, first, &[register]),
            Instruction::Not { dest: second, operand: first },
            self.call(strict::DECLINE_IF, first, &[second]),
        ];
        self.before(put, look);
        Ok(())
    }

    /// After the instruction `at`: declines if nothing was found and a key is a number.
    fn no_number(&mut self, place: &Place, at: usize, dest: u8, keys: &[u8]) -> Result<(), Fault> {
        let Some(at_most) = keys.len().checked_sub(1) else { return Ok(()) };
        let why = "a reference with too many keys";
        let name = strict::DECLINE_NUMBER.get(at_most).ok_or(Fault { at, why })?;
        let (first, second) = self.widen(place, at)?;
        let args: Vec<u8> = [second].into_iter().chain(keys.iter().copied()).collect();
        let look = [
            self.call(strict::DEFINED, first, &[dest]),
            Instruction::Not { dest: second, operand: first },
            self.call(name, first, &args),
        ];
        self.not_a_target.insert(at + 1);
        self.before(at + 1, look);
        Ok(())
    }

    fn widen(&mut self, place: &Place, at: usize) -> Result<(u8, u8), Fault> {
        let scratch = place.scratch(at)?;
        self.widened.extend(place.rule.map(|(rule, ..)| rule));
        Ok(scratch)
    }

    fn finish(mut self) -> Result<Program, Fault> {
        let targets = targets(&self.program);
        if let Some(at) = self.not_a_target.intersection(&targets).next() {
            let why = "the compiled program has an unexpected shape";
            return Err(Fault { at: at.saturating_sub(1), why });
        }
        for rule in &self.widened {
            if let Some(rule) = self.program.rule_infos.get_mut(*rule) {
                rule.num_registers = rule.num_registers.saturating_add(2);
                let widest = self.program.max_rule_window_size.max(rule.num_registers);
                self.program.max_rule_window_size = widest;
            }
        }
        let moved = Moved::of(&self.before);
        self.put();
        moved.follow(&mut self.program)?;
        for rule in &mut self.program.rule_infos {
            // The interpreter looks at every definition, and so reports what fails in any.
            rule.early_exit_on_first_success = false;
        }
        for params in &mut self.program.instruction_data.loop_params {
            if params.mode == LoopMode::Any {
                params.mode = LoopMode::ForEach;
            }
        }
        Ok(self.program)
    }

    /// Writes the new instructions between the old ones.
    fn put(&mut self) {
        let old = std::mem::take(&mut self.program.instructions);
        let spans = std::mem::take(&mut self.program.instruction_spans);
        let mut spans = spans.into_iter();
        for (at, instruction) in old.into_iter().enumerate() {
            let span = spans.next().flatten();
            for new in self.before.remove(&at).unwrap_or_default() {
                self.program.instructions.push(new);
                self.program.instruction_spans.push(span.clone());
            }
            self.program.instructions.push(instruction);
            self.program.instruction_spans.push(span);
        }
    }
}

/// Everything that is jumped to.
fn targets(program: &Program) -> BTreeSet<usize> {
    let data = &program.instruction_data;
    let loops = data.loop_params.iter().flat_map(|l| [l.body_start, l.loop_end]);
    let comprehensions =
        data.comprehension_begin_params.iter().flat_map(|c| [c.body_start, c.comprehension_end]);
    let inner = loops.chain(comprehensions).map(usize::from);
    let rules = program.rule_infos.iter().flat_map(|rule| {
        let bodies = rule.definitions.iter().flatten().copied();
        bodies.chain(rule.destructuring_blocks.iter().flatten().copied()).collect::<Vec<_>>()
    });
    inner.chain(rules.filter_map(|pc| usize::try_from(pc).ok())).collect()
}

/// Where the instructions of the old program stand in the new one.
struct Moved {
    /// How many new ones stand in front of this place and all before it.
    added: Vec<(usize, usize)>,
}

impl Moved {
    fn of(before: &BTreeMap<usize, Vec<Instruction>>) -> Self {
        let mut total = 0;
        let added = before.iter().map(|(at, new)| {
            total += new.len();
            (*at, total)
        });
        Self { added: added.collect() }
    }

    /// Where a jump to `pc` goes now: to what was put in front of it.
    fn target(&self, pc: usize) -> usize {
        let before = self.added.partition_point(|(at, _)| *at < pc);
        let shift = before.checked_sub(1).and_then(|last| self.added.get(last));
        pc + shift.map_or(0, |(_, total)| *total)
    }

    /// Makes every jump of the program follow.
    fn follow(&self, program: &mut Program) -> Result<(), Fault> {
        let short = |pc: u16| {
            let why = "a program that is larger than the machine takes";
            u16::try_from(self.target(usize::from(pc))).map_err(|_| Fault { at: 0, why })
        };
        let long = |pc: u32| {
            let moved = self.target(usize::try_from(pc).unwrap_or(usize::MAX));
            u32::try_from(moved).unwrap_or(u32::MAX)
        };
        for params in &mut program.instruction_data.loop_params {
            // The body begins right behind the loop's start, also where its first instruction got
            // company in front.
            params.body_start = short(params.body_start)?;
            params.loop_end = short(params.loop_end)?;
        }
        for params in &mut program.instruction_data.comprehension_begin_params {
            params.body_start = short(params.body_start)?;
            params.comprehension_end = short(params.comprehension_end)?;
        }
        for instruction in &mut program.instructions {
            if let Instruction::LoopNext { body_start, loop_end } = instruction {
                (*body_start, *loop_end) = (short(*body_start)?, short(*loop_end)?);
            }
        }
        for rule in &mut program.rule_infos {
            let moved = rule.definitions.iter().map(|bodies| bodies.iter().map(|pc| long(*pc)));
            rule.definitions = Arc::new(moved.map(Iterator::collect).collect());
            for block in rule.destructuring_blocks.iter_mut().flatten() {
                *block = long(*block);
            }
        }
        for entry in program.entry_points.values_mut() {
            *entry = self.target(*entry);
        }
        Ok(())
    }
}
