use super::*;

#[test]
fn a_missing_file_is_named() {
    let mut config = IdentityConfig { api_keys: Some("keys.json".into()), ..Default::default() };
    config.take_paths_from(Path::new("/nowhere"));
    let error = config.load().unwrap_err().to_string();
    assert!(error.contains("/nowhere/keys.json"), "{error}");
}

#[test]
fn issuers_say_where_their_keys_are() {
    let read = |members: &str| -> IssuerConfig {
        let text = format!(r#"{{"iss":"https://i.example","aud":"a"{members}}}"#);
        serde_json::from_str(&text).unwrap()
    };
    let issuer = read("");
    assert_eq!((issuer.keys_max_age_s, issuer.refresh_s), (3_600, 300));
    assert!(issuer.load().unwrap().keys.at(0, "i").is_err(), "nothing is fetched yet");
    for remote in [
        r#","jwks":"https://i.example/jwks""#,
        r#","jwks":"http://127.0.0.1:8085/jwks""#,
        r#","discovery":true"#,
        r#","discovery":"https://meta.example/m""#,
    ] {
        let issuer = read(remote);
        assert!(issuer.load().is_ok(), "{remote}");
        let again = serde_json::to_string(&issuer).unwrap();
        assert_eq!(serde_json::from_str::<IssuerConfig>(&again).unwrap(), issuer);
    }
    for bad in [
        r#","jwks":"http://i.example/jwks""#,
        r#","jwks":"ftp://i.example/jwks""#,
        r#","jwks":"https://i.example/jwks","discovery":true"#,
        r#","discovery":false"#,
        r#","discovery":"meta""#,
    ] {
        assert!(matches!(read(bad).load(), Err(ConfigError::Place(_))), "{bad}");
    }
}

#[test]
fn paths_are_taken_from_the_folder_and_urls_are_not() {
    let text = r#"{"issuers":[
        {"iss":"i","aud":"a","jwks":"keys.json","ca_file":"ca.pem"},
        {"iss":"j","aud":"a","jwks":"https://i.example/jwks"}]}"#;
    let mut config: IdentityConfig = serde_json::from_str(text).unwrap();
    config.take_paths_from(Path::new("/etc/lictor"));
    let [file, url] = &config.issuers[..] else { panic!() };
    assert_eq!(file.jwks, Some(KeysAt::File("/etc/lictor/keys.json".into())));
    assert_eq!(file.ca_file.as_deref(), Some(Path::new("/etc/lictor/ca.pem")));
    assert_eq!(url.jwks, Some(KeysAt::Url("https://i.example/jwks".into())));
}

#[test]
fn times_of_keys_end_where_they_say() {
    let load = |age, refresh| {
        let text = format!(
            r#"{{"iss":"https://i.example","aud":"a","keys_max_age_s":{age},"refresh_s":{refresh}}}"#
        );
        serde_json::from_str::<IssuerConfig>(&text).unwrap().load().map(|_| ())
    };
    for (age, refresh) in [(60, 30), (86_400, 86_400)] {
        assert!(load(age, refresh).is_ok(), "{age} {refresh}");
    }
    for (age, refresh) in [(59, 30), (86_401, 30), (60, 29), (60, 86_401)] {
        let refused = load(age, refresh);
        assert!(matches!(refused, Err(ConfigError::Seconds { .. })), "{age} {refresh}");
    }
}

#[test]
fn one_audience_or_several() {
    let read = |text: &str| serde_json::from_str::<Audience>(text).unwrap();
    assert_eq!(read(r#""a""#), Audience::One("a".into()));
    assert_eq!(read(r#"["a","b"]"#), Audience::Several(vec!["a".into(), "b".into()]));
}
