//! `lictor decide`: one decision without consequences, from a bundle or from a running
//! decision point.

use std::path::{Path, PathBuf};

use clap::Args;
use lictor_policy_lib::conclude::dry_run;
use lictor_policy_lib::engine::Budget;
use lictor_policy_lib::evaluate::Verdict;
use lictor_policy_lib::explain::{Explanation, explain};
use lictor_proto::call::Call;
use lictor_proto::decide::DEFAULT_BUDGET_MS;
use lictor_proto::decision::{Decision, Effect};
use lictor_proto::facts::Facts;
use lictor_proto::json::{self as strict, Node};
use lictor_proto::{pb, wire};
use serde_json::Value;

use crate::args::bundle;
use crate::args::pdp::{DoorArgs, Pdp, block_on};
use crate::command::explain::{explanation_with, pretty};
use crate::exit::{Exit, Failure, io};
use crate::output::{Format, Paint, print, print_json, say, shown, to_json_line};
use crate::time::now_ms;

/// Largest call or facts file, in bytes.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// Arguments of `decide`.
#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    /// Decide by this bundle, a folder or an archive; signatures and times are not
    /// looked at.
    #[arg(
        short,
        long,
        value_name = "BUNDLE",
        required_unless_present = "pdp",
        conflicts_with = "pdp"
    )]
    bundle: Option<PathBuf>,
    /// Ask this decision point: `http://HOST:PORT` or `unix:/PATH`.
    #[arg(long, value_name = "URL")]
    pdp: Option<String>,
    /// The call as Lictor JSON; `-` is standard input. With `--bundle` it may have a
    /// member `facts`.
    #[arg(short, long, value_name = "FILE")]
    input: PathBuf,
    /// What the decision point would know, as Lictor JSON; only with `--bundle`.
    #[arg(long, value_name = "FILE", requires = "bundle")]
    facts: Option<PathBuf>,
    /// Add what the engines said, the clauses of the rules that decided with what they
    /// read, and of a denial the nearest permits. A running decision point tells no
    /// more than the decision.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    door: DoorArgs,
    /// The same as `--pdp-token-file`, and counts before it.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// `pretty` is indented, `json` one line.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command: exit 0 allow, 3 deny, 4 ask.
pub(crate) fn run(args: &DecideArgs) -> Result<Exit, Failure> {
    let text = read_input(&args.input)?;
    let effect = match (&args.bundle, &args.pdp) {
        (Some(path), _) => by_bundle(args, path, &text)?,
        (None, Some(url)) => by_pdp(args, url, &text)?,
        (None, None) => return Err(Failure::usage("give `--bundle` or `--pdp`")),
    };
    Ok(match effect {
        Effect::Allow => Exit::Ok,
        Effect::Deny => Exit::Denied,
        Effect::Ask => Exit::Ask,
    })
}

fn by_bundle(args: &DecideArgs, path: &Path, text: &[u8]) -> Result<Effect, Failure> {
    let (call, stated) = split(&args.input, text)?;
    let facts = match (&args.facts, stated) {
        (Some(_), Some(_)) => {
            return Err(Failure::usage("the call has `facts` and `--facts` is given")
                .help("keep one of them"));
        }
        (Some(file), None) => parse_facts(file, &read_input(file)?)?,
        (None, Some(text)) => parse_facts(&args.input, text.as_bytes())?,
        (None, None) => Facts::default(),
    };
    let loaded = bundle::loaded(path)?.map_err(|problems| problems.failure())?;
    let now = now_ms();
    let mut outcome = dry_run(&loaded, &call, facts, now, Budget::default());
    outcome.decision.decision_id = uuid::Uuid::now_v7().to_string();
    let told = args
        .explain
        .then(|| explain(&loaded, &call, &outcome.facts, now, Budget::default()))
        .map(|told| (&outcome.verdict, told));
    write(args, &outcome.decision, told)?;
    Ok(outcome.decision.effect)
}

fn by_pdp(args: &DecideArgs, url: &str, text: &[u8]) -> Result<Effect, Failure> {
    scan_object(&args.input, text)?;
    let mut call = Call::from_json(text).map_err(|error| {
        Failure::failed(format!("`{}`: {error} ({})", args.input.display(), error.reason_id()))
    })?;
    if call.call_id.is_empty() {
        call.call_id = uuid::Uuid::now_v7().to_string();
    }
    let request = pb::DecideRequest {
        call: Some(wire::call_to_pb(&call)),
        budget_ms: DEFAULT_BUDGET_MS,
        dry_run: true,
    };
    let response = block_on(async {
        let pdp = Pdp::connect(url, &args.door, args.token_file.as_deref())?;
        let answer = pdp.decisions().decide(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| pdp.failure(&status))
    })?;
    let answer = wire::answer_from_pb(response).map_err(|error| {
        Failure::failed(format!("{} ({})", shown(&error.to_string()), shown(error.reason_id())))
    })?;
    if args.explain {
        say("a running decision point tells no more than the decision: use `--bundle` to see all");
    }
    write(args, &answer.decision, None)?;
    Ok(answer.decision.effect)
}

fn write(
    args: &DecideArgs,
    decision: &Decision,
    told: Option<(&Verdict, Explanation)>,
) -> Result<(), Failure> {
    let failed = |error: serde_json::Error| Failure::failed(error.to_string());
    let mut value: Value = serde_json::to_value(decision).map_err(failed)?;
    if let (Some((verdict, told)), Some(members)) = (&told, value.as_object_mut()) {
        members.insert("explain".to_owned(), explanation_with(verdict, told));
    }
    if args.format == Format::Json {
        return print(&to_json_line(&value)?);
    }
    print_json(&value)?;
    let paint = Paint::stderr();
    let effect = match decision.effect {
        Effect::Allow => paint.green("allow"),
        Effect::Deny => paint.red("deny"),
        Effect::Ask => paint.yellow("ask"),
    };
    for reason in &decision.reasons {
        let policy = if reason.policy.is_empty() { "-" } else { reason.policy.as_str() };
        let (id, message) = (shown(&reason.id), shown(&reason.message));
        say(&format!("{effect}: {id} {message} [{}]", shown(policy)));
    }
    if let Some((_, told)) = &told {
        let text = pretty(told, paint);
        say(text.trim_end());
    }
    Ok(())
}

/// The call, and the text of its `facts` if it states any.
fn split(path: &Path, text: &[u8]) -> Result<(Call, Option<String>), Failure> {
    let wrong = |what: String| Failure::failed(format!("`{}`: {what}", path.display()));
    let mut node = scan_object(path, text)?;
    let facts = take(&mut node, "facts").map(|facts| facts.compact());
    let call = Call::from_json(node.compact().as_bytes())
        .map_err(|error| wrong(format!("{error} ({})", error.reason_id())))?;
    Ok((call, facts))
}

/// One JSON object: a derived reader would take an array for its members in order.
fn scan_object(path: &Path, text: &[u8]) -> Result<Node, Failure> {
    let node = strict::scan(text)
        .map_err(|error| Failure::failed(format!("`{}`: {error}", path.display())))?;
    if node.is_object() {
        return Ok(node);
    }
    Err(Failure::failed(format!("`{}` is not a JSON object", path.display())))
}

fn take(node: &mut Node, name: &str) -> Option<Node> {
    let strict::Value::Object(members) = &mut node.value else {
        return None;
    };
    let at = members.iter().position(|member| &*member.key == name)?;
    Some(members.remove(at).value)
}

fn parse_facts(path: &Path, text: &[u8]) -> Result<Facts, Failure> {
    let wrong = |what: String| {
        Failure::failed(format!("`{}`: the facts are not acceptable: {what}", path.display()))
    };
    scan_object(path, text)?;
    serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))
}

fn read_input(path: &Path) -> Result<Vec<u8>, Failure> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)
    } else {
        let file = std::fs::File::open(path).map_err(|error| io("read", path, error))?;
        file.take(INPUT_BYTES_MAX + 1).read_to_end(&mut bytes)
    };
    read.map_err(|error| io("read", path, error))?;
    if bytes.len() as u64 > INPUT_BYTES_MAX {
        return Err(io("use", path, format!("it has more than {INPUT_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_taken_out_of_the_call() {
        let text =
            br#"{"call_id":"c","facts":{"session":{"calls":{"a":1}}},"action":{"name":"x"}}"#;
        let (call, facts) = split(Path::new("c"), text).unwrap();
        assert_eq!((call.call_id.as_str(), call.action.name.as_str()), ("c", "x"));
        let facts = parse_facts(Path::new("c"), facts.unwrap().as_bytes()).unwrap();
        assert_eq!(facts.session.calls.get("a"), Some(&1));
        assert!(split(Path::new("c"), b"{}").unwrap().1.is_none());
    }

    #[test]
    fn inexact_duplicate_and_unknown_members_are_refused() {
        for wrong in [
            &br#"{"call_id":"a","call_id":"b"}"#[..],
            br#"{"nothing":1}"#,
            br#"{"context":{"args":{"n":18446744073709551616}}}"#,
            br#"{"facts":{},"facts":{}}"#,
            b"[]",
        ] {
            assert!(split(Path::new("c"), wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
        assert!(parse_facts(Path::new("f"), br#"{"unknown":1}"#).is_err());
    }
}
