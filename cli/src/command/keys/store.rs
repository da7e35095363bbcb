//! The file of API keys: hashes of keys, and who they speak for.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::PossibleValuesParser;
use lictor_identity::files::{random, read_private, replace_private};
use lictor_identity::{ApiKeyRecord, ApiKeyStore, IssueRequest, PartyRef, Role};
use serde_json::{Value, json};

use crate::exit::{Exit, Failure, io};
use crate::output::{Format, print, print_json, say, shown, table};
use crate::time::{When, now_ms, rfc3339};

/// Random bytes of an id that was not given.
const ID_RANDOM_BYTES: usize = 6;

/// Where the API keys are.
#[derive(Debug, Args)]
struct StoreArgs {
    /// The file of API keys, which `[identity] api_keys` of `lictor.toml` names.
    #[arg(long, value_name = "FILE")]
    store: PathBuf,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Arguments of `keys issue`.
#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    #[command(flatten)]
    store: StoreArgs,
    /// On whose authority the key is used: `user:alice@example.com`.
    #[arg(long, value_name = "TYPE:ID", value_parser = party)]
    subject: Option<PartyRef>,
    /// The software that uses the key: an agent id of the registry.
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// What the key may do at the decision point's door; repeat it for more.
    #[arg(long = "role", value_name = "ROLE",
        value_parser = PossibleValuesParser::new(Role::ALL.map(Role::as_str)))]
    roles: Vec<String>,
    /// When the key ends: `2026-12-31T00:00:00Z`, or `90d` from now.
    #[arg(long, value_name = "TIME", value_parser = When::parse)]
    expires: Option<When>,
    /// The public name of the key, unique in the file; made up if absent.
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Isolation boundary of whoever uses the key.
    #[arg(long, value_name = "TENANT", default_value = lictor_proto::call::DEFAULT_TENANT)]
    tenant: String,
    /// For people.
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
}

/// Arguments of `keys list`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    store: StoreArgs,
}

/// Arguments of `keys revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The public name of the key.
    id: String,
    #[command(flatten)]
    store: StoreArgs,
}

fn party(text: &str) -> Result<PartyRef, String> {
    match text.split_once(':') {
        Some((kind, id)) if !kind.is_empty() && !id.is_empty() => Ok(PartyRef::new(kind, id)),
        _ => Err(format!("`{text}` is not `TYPE:ID`: write `user:alice@example.com`")),
    }
}

/// `keys issue`
pub(super) fn issue(args: &IssueArgs) -> Result<Exit, Failure> {
    let path = &args.store.store;
    let _lock = Lock::take(path)?;
    let mut store = if path.exists() { read(path)? } else { ApiKeyStore::default() };
    let now = now_ms();
    let request = IssueRequest {
        id: match &args.id {
            Some(id) => id.clone(),
            None => format!("key-{}", hex::encode(fresh::<ID_RANDOM_BYTES>()?)),
        },
        tenant: args.tenant.clone(),
        subject: args.subject.clone(),
        agent: args.agent.as_deref().map(|id| PartyRef::new("agent", id)),
        roles: args.roles.iter().filter_map(|name| Role::from_name(name)).collect(),
        expires_ms: args.expires.map(|when| when.at_ms(now)),
        note: args.note.clone(),
    };
    let (key, record) =
        store.issue(&request, now, fresh()?).map_err(|error| Failure::error(&error))?;
    write(path, &store)?;
    match args.store.format {
        Format::Json => {
            let mut described = describe(&record);
            if let Some(members) = described.as_object_mut() {
                members.insert("key".to_owned(), json!(key.to_string()));
            }
            print_json(&described)?;
        }
        Format::Pretty => {
            print(&key)?;
            say(&format!(
                "issued `{}`; the key is shown this once and stored only as a hash",
                record.id
            ));
        }
    }
    Ok(Exit::Ok)
}

/// `keys list`
pub(super) fn list(args: &ListArgs) -> Result<Exit, Failure> {
    let store = read(&args.store.store)?;
    let keys: Vec<Value> = store.records().iter().map(describe).collect();
    match args.store.format {
        Format::Json => print_json(&json!({ "keys": keys }))?,
        Format::Pretty => {
            let columns = ["id", "tenant", "subject", "agent", "roles", "expires", "state", "note"];
            let mut rows = vec![columns.map(str::to_owned).to_vec()];
            rows.extend(keys.iter().map(|key| columns.map(|column| cell(key, column)).to_vec()));
            print(&table(&rows))?;
        }
    }
    Ok(Exit::Ok)
}

/// `keys revoke`
pub(super) fn revoke(args: &RevokeArgs) -> Result<Exit, Failure> {
    let path = &args.store.store;
    let _lock = Lock::take(path)?;
    let mut store = read(path)?;
    let record = store.revoke(&args.id).map_err(|error| Failure::error(&error))?.clone();
    write(path, &store)?;
    match args.store.format {
        Format::Json => print_json(&describe(&record))?,
        Format::Pretty => print(&format!("revoked {}", shown(&record.id)))?,
    }
    Ok(Exit::Ok)
}

fn describe(record: &ApiKeyRecord) -> Value {
    let party = |party: &Option<PartyRef>| party.as_ref().map(|p| format!("{}:{}", p.kind, p.id));
    let expired = record.expires_ms.is_some_and(|end| end <= now_ms());
    let state = match (record.revoked, expired) {
        (true, _) => "revoked",
        (false, true) => "expired",
        (false, false) => "active",
    };
    json!({
        "id": record.id,
        "tenant": record.tenant,
        "subject": party(&record.subject),
        "agent": party(&record.agent),
        "roles": record.roles,
        "created": rfc3339(record.created_ms),
        "expires": record.expires_ms.map(rfc3339),
        "state": state,
        "note": record.note,
        "credential": record.credential().id,
    })
}

fn cell(key: &Value, column: &str) -> String {
    match key.get(column) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => shown(text),
        Some(Value::Array(items)) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            if items.is_empty() { "-".to_owned() } else { items.join(",") }
        }
        Some(other) => other.to_string(),
    }
}

fn fresh<const N: usize>() -> Result<[u8; N], Failure> {
    random::<N>().map_err(|error| Failure::error(&error))
}

fn read(path: &Path) -> Result<ApiKeyStore, Failure> {
    let text = read_private(path).map_err(|error| Failure::error(&error))?;
    ApiKeyStore::from_json(text.as_bytes())
        .map_err(|error| Failure::failed(format!("`{}`: {error}", path.display())))
}

fn write(path: &Path, store: &ApiKeyStore) -> Result<(), Failure> {
    let text = store.to_json().map_err(|error| Failure::error(&error))?;
    replace_private(path, &text).map_err(|error| Failure::error(&error))
}

/// Held while the store is read and replaced, so that no change of another process is
/// lost, least of all a revocation.
pub(in crate::command) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else changes `store`.
    pub(in crate::command) fn take(store: &Path) -> Result<Self, Failure> {
        let mut name = store.as_os_str().to_owned();
        name.push(".lock");
        let path = PathBuf::from(name);
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| io("open", &path, error))?;
        file.lock().map_err(|error| io("lock", &path, error))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_has_a_type_and_an_id() {
        assert_eq!(party("user:a:b"), Ok(PartyRef::new("user", "a:b")));
        for wrong in ["", "alice", ":a", "user:"] {
            assert!(party(wrong).is_err(), "{wrong}");
        }
    }
}
