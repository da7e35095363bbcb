//! `lictor keys`: key pairs of our own, and API keys of others.
//!
//! # Layout
//!
//! - this file: key pairs (`new`, `public`) and dispatch.
//! - [`rotate`]: the next key of an enforcement point's assertions.
//! - [`store`]: the file of API keys (`issue`, `list`, `revoke`).

mod rotate;
mod store;

pub(super) use store::Lock;

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use lictor_identity::keys::{Purpose, generate};
use lictor_identity::{TokenAlgorithm, TokenKey, token_key};
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::{Format, print, print_json, say};

/// Arguments of `keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Make a key pair: `PURPOSE.key` (0600) and `PURPOSE.pub`.
    New(NewArgs),
    /// Print the public key of a private key file.
    Public(PublicArgs),
    /// Let a new key take over the assertions of an enforcement point, without a gap.
    ///
    /// The new key is published first and signs later; the key before it stays published until
    /// every token that it signed has expired. A running enforcement point follows within two
    /// seconds.
    Rotate(rotate::RotateArgs),
    /// Issue an API key; its text is printed once and stored nowhere.
    Issue(store::IssueArgs),
    /// List API keys.
    List(store::ListArgs),
    /// Take an API key back.
    Revoke(store::RevokeArgs),
}

#[derive(Debug, Args)]
struct NewArgs {
    /// What the key is for; no key serves two purposes.
    #[arg(value_parser = PossibleValuesParser::new(Purpose::ALL.map(Purpose::as_str)))]
    purpose: String,
    /// The kind of the key; only assertions have the choice.
    #[arg(long, value_name = "ALG", default_value = TokenAlgorithm::EdDsa.as_str(),
        value_parser = PossibleValuesParser::new(TokenAlgorithm::ALL.map(TokenAlgorithm::as_str)))]
    algorithm: String,
    /// The folder for the two files; nothing in it is ever overwritten.
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Debug, Args)]
struct PublicArgs {
    /// A private key file, as `lictor keys new` writes it.
    file: PathBuf,
    /// How the result is told.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the command.
pub(crate) fn run(args: &KeysArgs) -> Result<Exit, Failure> {
    match &args.command {
        KeysCommand::New(args) => new(args),
        KeysCommand::Public(args) => public(args),
        KeysCommand::Rotate(args) => rotate::run(args),
        KeysCommand::Issue(args) => store::issue(args),
        KeysCommand::List(args) => store::list(args),
        KeysCommand::Revoke(args) => store::revoke(args),
    }
}

fn new(args: &NewArgs) -> Result<Exit, Failure> {
    let purpose = Purpose::from_name(&args.purpose)
        .ok_or_else(|| Failure::usage(format!("there is no purpose `{}`", args.purpose)))?;
    let made = match (TokenAlgorithm::from_name(&args.algorithm), purpose) {
        (Some(algorithm), Purpose::Assertion) => token_key::generate(algorithm),
        (Some(TokenAlgorithm::EdDsa), _) => generate(purpose),
        _ => {
            let only = format!("keys for `{}` are always `eddsa`", purpose.as_str());
            return Err(Failure::usage(only));
        }
    };
    let pair = made.map_err(|error| Failure::error(&error))?;
    let (private, public) =
        pair.write_pair(&args.output).map_err(|error| Failure::error(&error))?;
    match args.format {
        Format::Json => print_json(&json!({
            "purpose": purpose.as_str(), "kid": pair.kid, "private": private, "public": public,
        }))?,
        Format::Pretty => {
            print(&format!("{}\n{}", private.display(), public.display()))?;
            say(&format!("key {}: keep the first file secret, give the second away", pair.kid));
        }
    }
    Ok(Exit::Ok)
}

fn public(args: &PublicArgs) -> Result<Exit, Failure> {
    let key = TokenKey::load(&args.file).map_err(|error| Failure::error(&error))?;
    let pem = key.public_pem().map_err(|error| Failure::error(&error))?;
    match args.format {
        Format::Json => print_json(&json!({"kid": key.kid(), "public_pem": pem}))?,
        Format::Pretty => print(&pem)?,
    }
    Ok(Exit::Ok)
}
