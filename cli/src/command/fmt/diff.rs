//! A unified diff of two texts, by lines.

/// Unchanged lines around a change.
const CONTEXT_LINES: usize = 3;
/// Most pairs of lines that are compared for the shortest difference; beyond it what changed is
/// shown as one block, which is right too, only longer.
const COMPARED_PAIRS_MAX: usize = 4_000_000;

/// One line of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Same,
    Removed,
    Added,
}

/// The difference between `old` and `new`, empty if there is none. `name` is what both are called.
pub(super) fn unified(name: &str, old: &str, new: &str) -> String {
    let (before, after) = (lines(old), lines(new));
    let steps = steps(&before, &after);
    if steps.iter().all(|step| *step == Step::Same) {
        return String::new();
    }
    let mut out = format!("--- {name}\n+++ {name}\n");
    let mut writer = Writer { steps: &steps, before: &before, after: &after };
    let mut done = 0;
    while let Some(first) = next_change(&steps, done) {
        let last = end_of_hunk(&steps, first);
        let start = first.saturating_sub(CONTEXT_LINES).max(done);
        let end = (last + CONTEXT_LINES + 1).min(steps.len());
        writer.hunk(start, end, &mut out);
        done = end;
    }
    out
}

/// The lines with what ends them.
fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn next_change(steps: &[Step], from: usize) -> Option<usize> {
    steps.iter().enumerate().skip(from).find(|(_, step)| **step != Step::Same).map(|(at, _)| at)
}

/// The last change before a gap that is too wide for one hunk.
fn end_of_hunk(steps: &[Step], first: usize) -> usize {
    let mut last = first;
    while let Some(next) = next_change(steps, last + 1) {
        if next - last > 2 * CONTEXT_LINES + 1 {
            break;
        }
        last = next;
    }
    last
}

struct Writer<'a> {
    steps: &'a [Step],
    before: &'a [&'a str],
    after: &'a [&'a str],
}

impl Writer<'_> {
    fn hunk(&mut self, start: usize, end: usize, out: &mut String) {
        let (old_at, new_at) = self.lines_before(start);
        let (old_end, new_end) = self.lines_before(end);
        out.push_str(&format!(
            "@@ -{} +{} @@\n",
            range(old_at, old_end - old_at),
            range(new_at, new_end - new_at)
        ));
        let (mut old_at, mut new_at) = (old_at, new_at);
        for step in self.steps.iter().take(end).skip(start) {
            let (sign, line) = match step {
                Step::Added => ('+', self.after.get(new_at)),
                Step::Removed => ('-', self.before.get(old_at)),
                Step::Same => (' ', self.before.get(old_at)),
            };
            old_at += usize::from(*step != Step::Added);
            new_at += usize::from(*step != Step::Removed);
            let line = line.copied().unwrap_or_default();
            out.push(sign);
            out.push_str(line);
            if !line.ends_with('\n') {
                out.push_str("\n\\ No newline at end of file\n");
            }
        }
    }

    /// How many lines of both texts come before a step.
    fn lines_before(&self, step: usize) -> (usize, usize) {
        let passed = || self.steps.iter().take(step);
        let old = passed().filter(|step| **step != Step::Added).count();
        let new = passed().filter(|step| **step != Step::Removed).count();
        (old, new)
    }
}

/// `start,count` as POSIX writes it: an empty range is named by the line before it.
fn range(lines_before: usize, count: usize) -> String {
    let start = if count == 0 { lines_before } else { lines_before + 1 };
    if count == 1 { start.to_string() } else { format!("{start},{count}") }
}

fn steps(before: &[&str], after: &[&str]) -> Vec<Step> {
    let head = before.iter().zip(after).take_while(|(old, new)| old == new).count();
    let rest = (before.len().min(after.len())) - head;
    let ends = before.iter().rev().zip(after.iter().rev());
    let tail = ends.take(rest).take_while(|(old, new)| old == new).count();
    let old = before.get(head..before.len() - tail).unwrap_or_default();
    let new = after.get(head..after.len() - tail).unwrap_or_default();
    let mut steps = vec![Step::Same; head];
    if old.len().saturating_mul(new.len()) > COMPARED_PAIRS_MAX {
        steps.extend(std::iter::repeat_n(Step::Removed, old.len()));
        steps.extend(std::iter::repeat_n(Step::Added, new.len()));
    } else {
        shortest(old, new, &mut steps);
    }
    steps.extend(std::iter::repeat_n(Step::Same, tail));
    steps
}

/// By the longest common subsequence.
fn shortest(old: &[&str], new: &[&str], steps: &mut Vec<Step>) {
    let width = new.len() + 1;
    // common[i * width + j]: lines that old[i..] and new[j..] have in common.
    let mut common = vec![0_u32; (old.len() + 1) * width];
    let at = |common: &[u32], i: usize, j: usize| common.get(i * width + j).copied().unwrap_or(0);
    for (i, line) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            let best = if line == other {
                at(&common, i + 1, j + 1) + 1
            } else {
                at(&common, i + 1, j).max(at(&common, i, j + 1))
            };
            if let Some(cell) = common.get_mut(i * width + j) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old.get(i) == new.get(j) {
            steps.push(Step::Same);
            (i, j) = (i + 1, j + 1);
        } else if j >= new.len()
            || (i < old.len() && at(&common, i + 1, j) >= at(&common, i, j + 1))
        {
            steps.push(Step::Removed);
            i += 1;
        } else {
            steps.push(Step::Added);
            j += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_have_no_difference() {
        assert_eq!(unified("f", "a\nb\n", "a\nb\n"), "");
        assert_eq!(unified("f", "", ""), "");
    }

    #[test]
    fn changes_are_shown_with_three_lines_around_them() {
        let old = "1\n2\n3\n4\n5\n6\n7\n8\n9\n";
        let new = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n";
        assert_eq!(
            unified("f", old, new),
            "--- f\n+++ f\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
        );
        assert_eq!(unified("f", "", "a\n"), "--- f\n+++ f\n@@ -0,0 +1 @@\n+a\n");
        assert_eq!(
            unified("f", "a", "a\n"),
            "--- f\n+++ f\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"
        );
    }

    #[test]
    fn changes_far_apart_are_hunks_of_their_own() {
        let old: String = (0..30).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n3\n", "\nx\n").replace("\n25\n", "\n");
        let shown = unified("f", &old, &new);
        assert_eq!(shown.matches("@@ -").count(), 2, "{shown}");
        assert!(shown.contains("@@ -23,7 +23,6 @@"), "{shown}");
        // Seven unchanged lines between two changes would be shown twice over.
        let near = old.replace("\n3\n", "\nx\n").replace("\n10\n", "\n");
        assert_eq!(unified("f", &old, &near).matches("@@ -").count(), 1);
    }

    #[test]
    fn steps_lead_from_one_text_to_the_other() {
        let texts = ["", "a\n", "a\nb\nc\n", "c\nb\na\n", "b\nb\nb\nc", "x\na\ny\nb\nz\nc\n"];
        for old in texts {
            for new in texts {
                let (before, after) = (lines(old), lines(new));
                let steps = steps(&before, &after);
                let count = |not: Step| steps.iter().filter(|step| **step != not).count();
                assert_eq!((count(Step::Added), count(Step::Removed)), (before.len(), after.len()));
                let (mut i, mut j) = (0, 0);
                for step in &steps {
                    if *step == Step::Same {
                        assert_eq!(before[i], after[j]);
                    }
                    i += usize::from(*step != Step::Added);
                    j += usize::from(*step != Step::Removed);
                }
            }
        }
    }

    #[test]
    fn texts_too_long_to_compare_are_one_block() {
        let side = COMPARED_PAIRS_MAX.isqrt() + 1;
        let old: Vec<String> = (0..side).map(|n| format!("a{n}\n")).collect();
        let new: Vec<String> = (0..side).map(|n| format!("b{n}\n")).collect();
        let old: Vec<&str> = old.iter().map(String::as_str).collect();
        let new: Vec<&str> = new.iter().map(String::as_str).collect();
        let steps = steps(&old, &new);
        assert_eq!(steps.iter().position(|step| *step == Step::Added), Some(side));
        assert_eq!(steps.len(), 2 * side);
    }
}
