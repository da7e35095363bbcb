//! `lictor kill` and `lictor unkill`: taking somebody or something out of service, at a decision
//! point or on a signed list for many of them.
//!
//! # Layout
//!
//! - this file: the command line, and decision points
//! - `offline`: a list in a file
//! - `told`: how lists and entries are shown

mod offline;
mod told;

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use lictor_identity::ApiKeyStore;
use lictor_identity::files::read_private;
use lictor_proto::pb::{KillRequest, ListRevocationsRequest, UnkillRequest};
use lictor_proto::revocation::Kind;
use serde_json::json;

use self::offline::FileArgs;
pub(super) use self::told::{describe_list, pretty_list};
use crate::args::pdp::{Pdp, PdpArgs, block_on};
use crate::exit::{Exit, Failure};
use crate::output::{Format, Paint, print, print_json, shown};
use crate::time::{When, now_ms, rfc3339};

/// What is named, and where.
#[derive(Debug, Args)]
struct Named {
    /// What sort of thing.
    #[arg(value_name = "KIND", value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str)))]
    kind: Option<String>,
    /// Its id, as the registry and audit records have it. A credential is named by its digest
    /// (`lictor audit show`), or by the name of an API key together with `--api-keys`.
    id: Option<String>,
    /// Why; kept in the list and in the audit log.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// A file of API keys: ID is the name of one of them.
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// File with an operator's token for the decision point.
    #[arg(long, value_name = "FILE")]
    token: Option<PathBuf>,
    #[command(flatten)]
    pdp: PdpArgs,
    #[command(flatten)]
    file: FileArgs,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Arguments of `kill`.
#[derive(Debug, Args)]
#[command(
    override_usage = "lictor kill KIND ID --reason TEXT [OPTIONS]\n       lictor kill --list [OPTIONS]\n       lictor kill --list FILE --key FILE [--renew]"
)]
pub(crate) struct KillArgs {
    #[command(flatten)]
    named: Named,
    /// Until when it holds: `2026-12-31T00:00:00Z`. Without this, until it is taken back.
    #[arg(long, value_name = "TIME", value_parser = When::parse, conflicts_with = "lasting")]
    until: Option<When>,
    /// For how long it holds: `2h`, `30m`, `7d`.
    #[arg(long = "for", value_name = "DURATION", value_parser = When::parse)]
    lasting: Option<When>,
    /// Only sign the list again, so that it does not expire; with `--list FILE --key FILE`.
    #[arg(long, conflicts_with_all = ["kind", "create"])]
    renew: bool,
}

/// Arguments of `unkill`.
#[derive(Debug, Args)]
#[command(override_usage = "lictor unkill KIND ID --reason TEXT [OPTIONS]")]
pub(crate) struct UnkillArgs {
    #[command(flatten)]
    named: Named,
}

/// Something that is named whole.
struct Target {
    kind: Kind,
    id: String,
    reason: String,
}

/// `kill`
pub(crate) fn kill(args: &KillArgs) -> Result<Exit, Failure> {
    let named = &args.named;
    if args.renew {
        return offline::renew(named);
    }
    if named.kind.is_none() && named.file.list.is_some() {
        return list(named);
    }
    let target = named.target()?;
    let now = now_ms();
    let until_ms = args.until.or(args.lasting).map(|when| when.at_ms(now));
    if until_ms.is_some_and(|until_ms| until_ms <= now) {
        return Err(Failure::usage("it would be over already").help("give a later time"));
    }
    if let Some(path) = named.file()? {
        return offline::put(named, path, target, until_ms);
    }
    let request = KillRequest {
        kind: target.kind.as_str().to_owned(),
        id: target.id.clone(),
        reason: target.reason.clone(),
        until_ms: until_ms.unwrap_or_default(),
    };
    let killed = block_on(async {
        let pdp = named.connect()?;
        let answer = pdp.revocations().kill(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| pdp.failure(&status))
    })?;
    let until = until_ms.map(rfc3339);
    match named.format {
        Format::Json => print_json(&json!({
            "revoked": { "kind": target.kind, "id": target.id, "reason": target.reason, "until": until },
            "version": killed.version, "sessions": killed.sessions, "approvals": killed.approvals,
        }))?,
        Format::Pretty => print(&format!(
            "{} {} {}{}\n{} session(s) closed, {} approval(s) voided",
            Paint::stdout().red("revoked"),
            target.kind.as_str(),
            shown(&target.id),
            until.map(|until| format!(" until {until}")).unwrap_or_default(),
            killed.sessions,
            killed.approvals,
        ))?,
    }
    Ok(Exit::Ok)
}

/// `unkill`
pub(crate) fn unkill(args: &UnkillArgs) -> Result<Exit, Failure> {
    let named = &args.named;
    let target = named.target()?;
    if let Some(path) = named.file()? {
        return offline::remove(named, path, &target);
    }
    let request = UnkillRequest {
        kind: target.kind.as_str().to_owned(),
        id: target.id.clone(),
        reason: target.reason.clone(),
    };
    let unkilled = block_on(async {
        let pdp = named.connect()?;
        let answer = pdp.revocations().unkill(request).await;
        answer.map(tonic::Response::into_inner).map_err(|status| pdp.failure(&status))
    })?;
    match named.format {
        Format::Json => print_json(&json!({
            "unrevoked": { "kind": target.kind, "id": target.id, "reason": target.reason },
            "version": unkilled.version, "still_listed": unkilled.still_listed,
        }))?,
        Format::Pretty if unkilled.still_listed => print(&format!(
            "{}: {} {} is still on the configured list",
            Paint::stdout().yellow("taken from the own list only"),
            target.kind.as_str(),
            shown(&target.id)
        ))?,
        Format::Pretty => print(&format!(
            "{} {} {}: sessions and approvals that ended with it stay ended",
            Paint::stdout().green("no longer revoked:"),
            target.kind.as_str(),
            shown(&target.id)
        ))?,
    }
    Ok(Exit::Ok)
}

/// `kill --list`
fn list(named: &Named) -> Result<Exit, Failure> {
    if named.id.is_some() || named.reason.is_some() {
        return Err(Failure::usage("a list is shown whole").help("leave out ID and `--reason`"));
    }
    if let Some(path) = named.file()? {
        return offline::show(named, path);
    }
    let listed = block_on(async {
        let pdp = named.connect()?;
        let answer = pdp.revocations().list(ListRevocationsRequest {}).await;
        answer.map(tonic::Response::into_inner).map_err(|status| pdp.failure(&status))
    })?;
    told::show(&listed.entries, &listed.lists, named.format)
}

impl Named {
    fn connect(&self) -> Result<Pdp, Failure> {
        Pdp::connect(&self.pdp.pdp, &self.pdp.door, self.token.as_deref())
    }

    /// The file of a list, where one is to be changed or shown instead of asking a decision point.
    fn file(&self) -> Result<Option<&Path>, Failure> {
        match &self.file.list {
            None => Ok(None),
            Some(Some(path)) => Ok(Some(path)),
            Some(None) if self.kind.is_none() => Ok(None),
            Some(None) => {
                let help = "name the file to change: `--list FILE --key FILE`";
                Err(Failure::usage("`--list` names no file").help(help))
            }
        }
    }

    fn target(&self) -> Result<Target, Failure> {
        let kinds = Kind::ALL.map(Kind::as_str).join(", ");
        let missing =
            |what: &str, help: String| Failure::usage(format!("{what} is missing")).help(help);
        let kind = self.kind.as_deref().and_then(Kind::from_name);
        let kind =
            kind.ok_or_else(|| missing("KIND", format!("give one of {kinds}, then an id")))?;
        let id = self.id.as_deref().map(str::trim).filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| missing("ID", format!("say which {}", kind.as_str())))?;
        let reason = self.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        let help = || "whoever reads the log must see why".to_owned();
        let reason = reason.ok_or_else(|| missing("`--reason TEXT`", help()))?.to_owned();
        let id = match &self.api_keys {
            Some(store) => credential(kind, id, store)?,
            None => id.to_owned(),
        };
        Ok(Target { kind, id, reason })
    }
}

/// The digest by which records name the API key called `name`.
fn credential(kind: Kind, name: &str, store: &Path) -> Result<String, Failure> {
    if kind != Kind::Credential {
        let text = format!("`--api-keys` names credentials, not a {}", kind.as_str());
        return Err(Failure::usage(text).help("leave it out, or say `credential`"));
    }
    let text = read_private(store).map_err(|error| Failure::error(&error))?;
    let keys = ApiKeyStore::from_json(text.as_bytes())
        .map_err(|error| Failure::failed(format!("`{}`: {error}", store.display())))?;
    let key = keys.records().iter().find(|record| record.id == name);
    key.map(|record| record.credential().id).ok_or_else(|| {
        Failure::failed(format!("`{}` has no key `{}`", store.display(), shown(name)))
            .help("`lictor keys list --store FILE` shows those there are")
    })
}
