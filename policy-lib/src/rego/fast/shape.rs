//! Where the loops and comprehensions of a compiled program begin and end. They nest, and every
//! rule is one piece, so one walk finds them.

use regorus::rvm::instructions::Instruction;
use regorus::rvm::program::Program;

use super::Fault;

/// What encloses an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame {
    /// A loop whose body ends before this instruction.
    Loop { end: usize },
    /// A comprehension.
    Comprehension,
}

/// What encloses each instruction.
#[derive(Debug)]
pub(super) struct Map {
    /// Innermost last.
    frames: Vec<Vec<Frame>>,
}

impl Map {
    fn at(&self, pc: usize) -> &[Frame] {
        self.frames.get(pc).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether a condition at `pc` that does not hold ends just what it should: its loop, or its
    /// body. Inside of a comprehension and no loop of it the machine ends too much, or leaves the
    /// comprehension open.
    pub(super) fn is_routed(&self, pc: usize) -> bool {
        !matches!(self.at(pc).last(), Some(Frame::Comprehension))
    }

    /// Whether what stands at `pc` is done several times for one value of its rule.
    pub(super) fn repeats(&self, pc: usize) -> bool {
        self.at(pc).iter().any(|frame| matches!(frame, Frame::Loop { .. }))
    }
}

const UNEXPECTED: &str = "the compiled program has an unexpected shape";

/// Walks the program.
///
/// # Errors
/// Where it is not shaped as the compiler shapes programs.
pub(super) fn read(program: &Program) -> Result<Map, Fault> {
    let mut frames = Vec::with_capacity(program.instructions.len());
    let mut open: Vec<Frame> = Vec::new();
    for (at, instruction) in program.instructions.iter().enumerate() {
        let unexpected = Fault { at, why: UNEXPECTED };
        match instruction {
            Instruction::LoopStart { params_index } => {
                frames.push(open.clone());
                let params = program.instruction_data.get_loop_params(*params_index);
                let params = params.ok_or_else(|| unexpected.clone())?;
                if usize::from(params.body_start) != at + 1 {
                    return Err(unexpected);
                }
                open.push(Frame::Loop { end: usize::from(params.loop_end) });
                continue;
            }
            Instruction::ComprehensionBegin { params_index } => {
                frames.push(open.clone());
                let data = &program.instruction_data;
                let params = data.get_comprehension_begin_params(*params_index);
                if params.is_none_or(|params| usize::from(params.body_start) != at + 1) {
                    return Err(unexpected);
                }
                open.push(Frame::Comprehension);
                continue;
            }
            Instruction::LoopNext { .. } => match open.pop() {
                Some(Frame::Loop { end }) if end == at + 1 => {}
                _ => return Err(unexpected),
            },
            Instruction::ComprehensionEnd {} => match open.pop() {
                Some(Frame::Comprehension) => {}
                _ => return Err(unexpected),
            },
            Instruction::RuleInit { .. }
            | Instruction::RuleReturn {}
            | Instruction::DestructuringSuccess {}
            | Instruction::Return { .. }
                if !open.is_empty() =>
            {
                return Err(unexpected);
            }
            _ => {}
        }
        frames.push(open.clone());
    }
    if open.is_empty() { Ok(Map { frames }) } else { Err(Fault { at: 0, why: UNEXPECTED }) }
}
