use std::path::Path;

use super::config::{AuthConfig, AuthFault, REFRESH_MAX_S};

fn read(text: &str) -> Result<AuthConfig, toml::de::Error> {
    toml::from_str(text)
}

fn fault(text: &str) -> AuthFault {
    read(text).unwrap().validate().unwrap_err()
}

const SERVER: &str =
    "server = { token_url = 'https://as/token', client_id = 'gate', secret_file = 's' }";

fn grant(kind: &str, more: &str) -> String {
    format!("kind = '{kind}'\n{SERVER}\n{more}")
}

#[test]
fn every_kind_is_read_printed_and_read_again() {
    let jag = grant(
        "id_jag",
        "audience = 'https://as'\nscope = 'a b'\n[idp]\ntoken_url = 'https://idp/token'\nclient_id = 'g'\nclient_auth = 'private_key_jwt'\nsecret_env = 'K'\nkey_id = 'k'\nproof_audience = 'https://idp'\nca_file = 'ca.pem'",
    );
    for text in [
        "kind = 'none'".to_owned(),
        "kind = 'assertion'".to_owned(),
        "kind = 'key'\nenv = 'K'".to_owned(),
        "kind = 'key'\nfile = 'k'\nheader = 'x-api-key'".to_owned(),
        "kind = 'key'\ncommand = ['vault', 'read']\nrefresh_s = 60".to_owned(),
        grant("client_credentials", "scope = 'a'\naudience = 'b'\nresource = 'https://c'"),
        grant("token_exchange", "audience = 'a'\nsubject_token_type = 'jwt'\nsubject_issuer = 'i'"),
        jag,
    ] {
        let auth = read(&text).unwrap();
        auth.validate().unwrap();
        let printed = toml::to_string(&auth).unwrap();
        assert_eq!(read(&printed).unwrap(), auth, "{printed}");
    }
    let printed = toml::to_string(&AuthConfig::default()).unwrap();
    assert_eq!(read(&printed).unwrap(), AuthConfig::default());
}

#[test]
fn unknown_kinds_and_keys_are_named() {
    for (text, named) in [
        ("kind = 'keys'".to_owned(), "keys"),
        ("env = 'K'".to_owned(), "kind"),
        ("kind = 'none'\nenv = 'K'".to_owned(), "env"),
        ("kind = 'assertion'\nenv = 'K'".to_owned(), "env"),
        ("kind = 'key'\nenv = 'K'\nscope = 'a'".to_owned(), "scope"),
        (grant("client_credentials", "subject_issuer = 'x'"), "subject_issuer"),
        (grant("token_exchange", "requested_token_type = 'saml2'"), "saml2"),
        (grant("id_jag", ""), "idp"),
    ] {
        let error = read(&text).unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
}

#[test]
fn one_place_for_one_secret() {
    for text in ["", "env = 'K'\nfile = 'k'", "file = 'k'\ncommand = ['a']"] {
        let text = format!("kind = 'key'\n{text}");
        assert!(matches!(fault(&text), AuthFault::Places { .. }), "{text}");
    }
    let none = "kind = 'client_credentials'\nserver = { token_url = 'https://a', client_id = 'b' }";
    assert!(matches!(fault(none), AuthFault::Places { .. }));
}

#[test]
fn what_could_not_work_is_refused() {
    let command = |s: u32| format!("kind = 'key'\ncommand = ['a']\nrefresh_s = {s}");
    assert!(read(&command(REFRESH_MAX_S)).unwrap().validate().is_ok());
    assert!(matches!(fault(&command(REFRESH_MAX_S + 1)), AuthFault::Refresh));
    assert!(matches!(fault(&command(0)), AuthFault::Refresh));
    assert!(matches!(fault("kind = 'key'\nenv = 'K'\nrefresh_s = 9"), AuthFault::Unused { .. }));
    assert!(matches!(fault("kind = 'key'\nenv = 'K'\nheader = 'host'"), AuthFault::Header(_)));
    assert!(matches!(fault(&grant("token_exchange", "")), AuthFault::NoAudience));
    let of = |kind: &str| grant("token_exchange", &format!("audience = 'a'\n{kind}"));
    assert!(matches!(fault(&of("subject_token_type = 'id_jag'")), AuthFault::Kind { .. }));
    assert!(matches!(fault(&of("requested_token_type = 'id_token'")), AuthFault::Kind { .. }));
    assert!(matches!(fault(&of("scope = ''")), AuthFault::Parameter { key: "scope" }));
    assert!(matches!(fault(&of("resource = 'ä'")), AuthFault::Parameter { key: "resource" }));
    let unused = "kind = 'client_credentials'\nserver = { token_url = 'https://a', client_id = 'b', secret_env = 'c', key_id = 'd' }";
    assert!(matches!(fault(unused), AuthFault::Unused { .. }));
}

#[test]
fn paths_are_below_the_folder_of_the_file() {
    let placed = |text: &str| {
        let mut auth = read(text).unwrap();
        auth.take_paths_from(Path::new("/etc/lictor"));
        toml::to_string(&auth).unwrap()
    };
    assert!(placed("kind = 'key'\nfile = 'k'").contains("/etc/lictor/k"));
    assert!(placed("kind = 'key'\ncommand = ['./get', './x']").contains("/etc/lictor/./get"));
    assert!(placed("kind = 'key'\ncommand = ['vault']").contains("[\"vault\"]"));
    assert!(placed(&grant("client_credentials", "")).contains("/etc/lictor/s"));
}
