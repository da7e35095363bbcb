//! The names of the built-in rules, and which of them a configuration switches on.

use lictor_proto::decision::Severity;

use super::config::DetectorConfig;
use super::error::CompileError;
use super::hit::Active;
use crate::diagnostic::suggest;

/// A built-in rule.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) family: &'static str,
    pub(crate) rule: String,
    pub(crate) severity: Severity,
}

impl Known {
    /// `family/rule`.
    pub(crate) fn id(&self) -> String {
        format!("{}/{}", self.family, self.rule)
    }
}

/// For each known rule, where it runs.
pub(crate) fn resolve(
    wanted: &[DetectorConfig],
    known: &[Known],
) -> Result<Vec<Active>, CompileError> {
    let mut active = vec![Active::default(); known.len()];
    for (index, entry) in wanted.iter().enumerate() {
        let members = members(index, entry, known)?;
        check_rules(index, "only", entry, &entry.only, &members)?;
        check_rules(index, "except", entry, &entry.except, &members)?;
        let mut none = true;
        for (rule, slot) in known.iter().zip(active.iter_mut()) {
            let kept = (entry.only.is_empty() || entry.only.contains(&rule.rule))
                && !entry.except.contains(&rule.rule);
            if kept && is_member(entry, rule) {
                slot.raise(&entry.origins, entry.severity.unwrap_or(rule.severity));
                none = false;
            }
        }
        if none {
            let id = entry.id.clone();
            return Err(CompileError::NothingLeft { index, id });
        }
    }
    Ok(active)
}

/// Names the nearest of the known names, if there is one.
fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    suggest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

fn is_member(entry: &DetectorConfig, rule: &Known) -> bool {
    entry.id == rule.family || entry.id == rule.id()
}

/// The rules that the entry's id names.
fn members<'a>(
    index: usize,
    entry: &DetectorConfig,
    known: &'a [Known],
) -> Result<Vec<&'a Known>, CompileError> {
    let members: Vec<&Known> = known.iter().filter(|rule| is_member(entry, rule)).collect();
    if !members.is_empty() {
        return Ok(members);
    }
    let ids: Vec<String> = known.iter().map(Known::id).collect();
    let names = known.iter().map(|rule| rule.family).chain(ids.iter().map(String::as_str));
    Err(CompileError::UnknownDetector { index, id: entry.id.clone(), hint: hint(&entry.id, names) })
}

fn check_rules(
    index: usize,
    member: &'static str,
    entry: &DetectorConfig,
    rules: &[String],
    members: &[&Known],
) -> Result<(), CompileError> {
    match rules.iter().find(|rule| !members.iter().any(|known| known.rule == **rule)) {
        None => Ok(()),
        Some(rule) => Err(CompileError::UnknownRule {
            index,
            member,
            id: entry.id.clone(),
            rule: rule.clone(),
            hint: hint(rule, members.iter().map(|known| known.rule.as_str())),
        }),
    }
}

#[cfg(test)]
mod tests {
    use lictor_proto::call::Origin;

    use super::*;

    fn known() -> Vec<Known> {
        [("secret", "alpha"), ("secret", "beta"), ("pii", "card")]
            .map(|(family, rule)| Known { family, rule: rule.to_owned(), severity: Severity::High })
            .into()
    }

    fn entry(id: &str, only: &[&str], except: &[&str]) -> DetectorConfig {
        DetectorConfig {
            id: id.to_owned(),
            origins: vec![Origin::User],
            only: only.iter().map(|r| (*r).to_owned()).collect(),
            except: except.iter().map(|r| (*r).to_owned()).collect(),
            severity: None,
        }
    }

    fn on(entries: &[DetectorConfig]) -> Vec<bool> {
        resolve(entries, &known()).unwrap().iter().map(Active::anywhere).collect()
    }

    #[test]
    fn families_rules_and_exceptions() {
        assert_eq!(on(&[]), [false, false, false]);
        assert_eq!(on(&[entry("secret", &[], &[])]), [true, true, false]);
        assert_eq!(on(&[entry("secret", &["beta"], &[])]), [false, true, false]);
        assert_eq!(on(&[entry("secret", &[], &["beta"])]), [true, false, false]);
        assert_eq!(
            on(&[entry("secret/beta", &[], &[]), entry("pii/card", &[], &[])]),
            [false, true, true]
        );
    }

    #[test]
    fn the_severity_of_an_entry_replaces_the_rules_own() {
        let mut low = entry("pii", &[], &[]);
        low.severity = Some(Severity::Low);
        let active = resolve(&[low], &known()).unwrap();
        assert_eq!(active[2].at(Origin::User), Some(Severity::Low));
        assert_eq!(active[2].at(Origin::System), None);
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        let refused = |entry: DetectorConfig| resolve(&[entry], &known()).unwrap_err().to_string();
        assert_eq!(
            refused(entry("secrets", &[], &[])),
            "`guardrails.detectors[0].id` names no detector: `secrets`; did you mean `secret`?"
        );
        assert!(refused(entry("pii/cards", &[], &[])).ends_with("did you mean `pii/card`?"));
        assert_eq!(
            refused(entry("secret", &["bta"], &[])),
            "`guardrails.detectors[0].only`: `secret` has no rule `bta`; did you mean `beta`?"
        );
        assert!(
            refused(entry("secret", &[], &["card"])).contains("`guardrails.detectors[0].except`")
        );
        assert!(refused(entry("secret", &["beta"], &["beta"])).contains("leave no rule"));
    }
}
