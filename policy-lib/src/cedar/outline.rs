//! What a Cedar file says, policy by policy, whatever its layout.

use cedar_policy_core::ast::{Effect, Template};
use cedar_policy_core::parser::parse_policyset;

use super::place::File;

/// One policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outline {
    /// Its `@id`; empty if it has none.
    pub(crate) id: String,
    /// Whether it permits.
    pub(crate) permits: bool,
    /// Scope and conditions in one layout, without comments.
    pub(crate) rule: String,
    /// All annotations but the id, in one layout.
    pub(crate) notes: String,
    /// `cedar/<unit>.cedar:<line>`.
    pub(crate) place: String,
}

/// The policies of a file in the order written; nothing if it does not parse.
pub(crate) fn outlines(path: &str, text: &str) -> Vec<Outline> {
    let file = File::new(path, text);
    let Ok(set) = parse_policyset(text) else { return Vec::new() };
    let mut templates: Vec<&Template> = set.all_templates().collect();
    templates.sort_by_key(|template| start(template));
    templates.into_iter().map(|template| outline(template, &file)).collect()
}

fn start(template: &Template) -> usize {
    template.loc().map_or(0, |loc| loc.start())
}

fn outline(template: &Template, file: &File<'_>) -> Outline {
    let mut id = String::new();
    let mut notes = Vec::new();
    for (name, annotation) in template.annotations() {
        if name.to_string() == "id" {
            id = annotation.val.to_string();
        } else {
            notes.push(format!("@{name}({:?})", annotation.val.as_str()));
        }
    }
    notes.sort();
    Outline {
        id,
        permits: template.effect() == Effect::Permit,
        rule: format!("{} {}", template.effect(), template.condition()),
        notes: notes.join(" "),
        place: file.place(start(template)),
    }
}

#[cfg(test)]
mod tests {
    use super::outlines;

    #[test]
    fn layout_and_comments_say_nothing() {
        let one = "@id(\"a\") @reason(\"x\")\npermit(principal, action, resource) when { context.n == 1 };";
        let two = "// why\n@reason(\"x\")\n@id(\"a\")\npermit (principal,\n action, resource)\nwhen { (context.n) == 1 };";
        let (one, two) = (outlines("cedar/a.cedar", one), outlines("cedar/a.cedar", two));
        assert_eq!(
            (&one[0].id, &one[0].rule, &one[0].notes),
            (&two[0].id, &two[0].rule, &two[0].notes)
        );
        assert_eq!(
            (one[0].place.as_str(), two[0].place.as_str()),
            ("cedar/a.cedar:1", "cedar/a.cedar:2")
        );
        let other = "@id(\"a\")\npermit(principal, action, resource) when { context.n == 2 };";
        assert_ne!(outlines("cedar/a.cedar", other)[0].rule, one[0].rule);
        assert!(outlines("cedar/a.cedar", "permit(").is_empty());
    }
}
