//! The `# METADATA` blocks of one file, as OPA reads them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::diagnostic::Diagnostic;
use crate::rego::source::Policy;

/// Longest block, in bytes.
const MAX_BLOCK_BYTES: usize = 64 << 10;

/// What a block is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Rule,
    Document,
    Package,
    Subpackages,
}

/// One block.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Annotation {
    pub(super) scope: Scope,
    pub(super) line: u32,
    /// The rule behind it, by its number in the file; none for a package.
    pub(super) rule: Option<usize>,
    /// As the builtins tell it.
    pub(super) value: Value,
}

#[derive(Deserialize, Default)]
#[serde(default, expecting = "a list of members such as `title: ...`")]
struct Block {
    scope: Option<String>,
    title: String,
    description: String,
    entrypoint: bool,
    organizations: Vec<String>,
    related_resources: Vec<Resource>,
    authors: Vec<Author>,
    schemas: Vec<Map<String, Value>>,
    custom: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Author {
    Text(String),
    Parts {
        #[serde(default)]
        name: String,
        #[serde(default)]
        email: String,
    },
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Resource {
    Text(String),
    Parts {
        r#ref: String,
        #[serde(default)]
        description: String,
    },
}

/// All blocks of `policy`.
pub(super) fn annotations(policy: &Policy, problems: &mut Vec<Diagnostic>) -> Vec<Annotation> {
    let mut found = Vec::new();
    for (line, text) in blocks(policy) {
        match read(policy, line, &text) {
            Ok(annotation) => found.push(annotation),
            Err(message) => {
                problems
                    .push(Diagnostic::error("rego_metadata", &policy.name, message).at(line, 1));
            }
        }
    }
    found
}

/// Line and text of every block: the comments directly under `# METADATA`.
fn blocks(policy: &Policy) -> Vec<(u32, String)> {
    let mut found: Vec<(u32, String)> = Vec::new();
    let mut open = false;
    let mut offset = 0usize;
    for (line, text) in (1u32..).zip(policy.text.split('\n')) {
        let at = offset + (text.len() - text.trim_start().len());
        offset += text.len() + 1;
        let comment = text.trim_start().strip_prefix('#');
        // A line of a text that spans lines is no comment.
        let inside = || policy.tokens.iter().any(|token| token.start <= at && at < token.end);
        let Some(comment) = comment.filter(|_| !inside()) else {
            open = false;
            continue;
        };
        if comment.trim() == "METADATA" {
            found.push((line, String::new()));
            open = true;
        } else if open && let Some((_, block)) = found.last_mut() {
            block.push_str(comment);
            block.push('\n');
        }
    }
    found
}

fn read(policy: &Policy, line: u32, text: &str) -> Result<Annotation, String> {
    if text.len() > MAX_BLOCK_BYTES {
        return Err(format!(
            "the annotation has {} bytes, at most {MAX_BLOCK_BYTES} are read",
            text.len()
        ));
    }
    let block: Block = if text.trim().is_empty() {
        return Err("the annotation says nothing".to_owned());
    } else {
        yaml_serde::from_str(text)
            .map_err(|error| format!("the annotation is not understood: {error}"))?
    };
    let rule = next_rule(policy, line)?;
    let scope = scope(block.scope.as_deref(), block.entrypoint, rule.is_some())?;
    Ok(Annotation { scope, line, rule, value: value(block, scope) })
}

/// The statement behind `line`: a rule by its number, or the package.
fn next_rule(policy: &Policy, line: u32) -> Result<Option<usize>, String> {
    let module = &policy.module;
    let rules =
        module.policy.iter().enumerate().map(|(at, rule)| (rule.span().line, Some(Some(at))));
    let package = (module.package.span.line, Some(None));
    let imports = module.imports.iter().map(|import| (import.span.line, None));
    let next = rules
        .chain([package])
        .chain(imports)
        .filter(|(at, _)| *at > line)
        .min_by_key(|(at, _)| *at);
    match next {
        Some((_, Some(rule))) => Ok(rule),
        Some((_, None)) => Err("an import has no annotations".to_owned()),
        None => Err("nothing stands behind the annotation".to_owned()),
    }
}

fn scope(said: Option<&str>, entrypoint: bool, of_rule: bool) -> Result<Scope, String> {
    let scope = match said {
        None if of_rule && entrypoint => Scope::Document,
        None if of_rule => Scope::Rule,
        None => Scope::Package,
        Some("rule") => Scope::Rule,
        Some("document") => Scope::Document,
        Some("package") => Scope::Package,
        Some("subpackages") => Scope::Subpackages,
        Some(other) => {
            return Err(format!(
                "`{other}` is no scope: write `rule`, `document`, `package` or `subpackages`"
            ));
        }
    };
    match (scope, of_rule) {
        (Scope::Rule | Scope::Document, false) => {
            Err("the scope is that of a rule, and a package follows".to_owned())
        }
        (Scope::Package | Scope::Subpackages, true) => {
            Err("the scope is that of a package, and a rule follows".to_owned())
        }
        _ => Ok(scope),
    }
}

fn value(block: Block, scope: Scope) -> Value {
    let mut said = Map::new();
    let scope = match scope {
        Scope::Rule => "rule",
        Scope::Document => "document",
        Scope::Package => "package",
        Scope::Subpackages => "subpackages",
    };
    said.insert("scope".to_owned(), json!(scope));
    let mut put = |name: &str, present: bool, value: Value| {
        if present {
            said.insert(name.to_owned(), value);
        }
    };
    put("title", !block.title.is_empty(), json!(block.title));
    put("description", !block.description.is_empty(), json!(block.description));
    put("entrypoint", block.entrypoint, json!(true));
    put("organizations", !block.organizations.is_empty(), json!(block.organizations));
    let resources: Vec<Value> = block.related_resources.into_iter().map(resource).collect();
    put("related_resources", !resources.is_empty(), json!(resources));
    let authors: Vec<Value> = block.authors.into_iter().map(author).collect();
    put("authors", !authors.is_empty(), json!(authors));
    let schemas: Vec<Value> = block.schemas.into_iter().flat_map(schema).collect();
    put("schemas", !schemas.is_empty(), json!(schemas));
    put("custom", !block.custom.is_empty(), Value::Object(block.custom));
    Value::Object(said)
}

fn present(members: &[(&str, &str)]) -> Value {
    let members = members.iter().filter(|(_, text)| !text.is_empty());
    Value::Object(members.map(|(name, text)| ((*name).to_owned(), json!(text))).collect())
}

fn resource(resource: Resource) -> Value {
    match resource {
        Resource::Text(text) => present(&[("ref", &text)]),
        Resource::Parts { r#ref, description } => {
            present(&[("ref", &r#ref), ("description", &description)])
        }
    }
}

/// `Jane Doe <jane@example.com>`, or its parts.
fn author(author: Author) -> Value {
    let (name, email) = match author {
        Author::Parts { name, email } => (name, email),
        Author::Text(text) => {
            let trimmed = text.trim();
            let address = trimmed.strip_suffix('>').and_then(|rest| rest.rsplit_once('<'));
            match address {
                Some((name, email)) => (name.trim().to_owned(), email.to_owned()),
                None => (trimmed.to_owned(), String::new()),
            }
        }
    };
    present(&[("name", &name), ("email", &email)])
}

/// `input.x: schema.y`, or `input.x: {...}` with the schema itself.
fn schema(schema: Map<String, Value>) -> impl Iterator<Item = Value> {
    schema.into_iter().map(|(path, said)| {
        let path: Vec<&str> = path.split('.').collect();
        match said {
            Value::String(name) => {
                json!({"path": path, "schema": name.split('.').collect::<Vec<_>>()})
            }
            definition => json!({"path": path, "definition": definition}),
        }
    })
}
