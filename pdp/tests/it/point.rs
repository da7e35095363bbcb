//! A decision point that listens, with certificates or without, and everybody it knows.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use lictor_audit::query::{Logs, Record};
use lictor_identity::tls::{ClientAuth, ServerTlsConfig};
use lictor_identity::{ApiKeyStore, Authenticator, IssueRequest, PartyRef, Role, Settings};
use lictor_pdp::clock::Clock;
use lictor_pdp::config::{AuditConfig, PdpConfig};
use lictor_pdp::registered::{Allow, OperatorConfig, PepConfig};
use lictor_pdp::server::{Running, start};
use lictor_proto::call::DEFAULT_TENANT;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// Bob approves; the bot may read and pay.
const DATA: &str = r#"{"registry":{"users":{"alice":{},"bob":{}},
    "agents":{"bot":{"owner":"alice","status":"active"}},"servers":{"bank":{}},
    "tools":{"bank/read":{"schema":"any","annotations":{"effect":"none"}},
             "bank/pay":{"schema":"any","annotations":{"effect":"none"}}}}}"#;

/// The names that certificates are made for, besides the server's own.
pub(crate) const OPERATOR: &str = "operator.internal";
pub(crate) const AUDITOR: &str = "auditor.internal";
pub(crate) const NOBODY: &str = "nobody.internal";

pub(crate) struct Point {
    root: tempfile::TempDir,
    running: Running,
    /// The API key of an approver.
    pub(crate) approver: String,
}

impl Point {
    /// With certificates, and somebody of every role.
    pub(crate) async fn with_everybody() -> Self {
        Self::start(|root, config| {
            certificates(root);
            let path = |name: &str| root.join(name);
            config.tls = Some(ServerTlsConfig {
                cert: path("localhost.pem"),
                key: path("localhost.key"),
                client_ca: vec![path("ca.pem")],
                client_auth: Some(ClientAuth::Optional),
            });
            config.default_pep = Some(true);
            config.peps = vec![named_pep(root)];
            let named = |id: &str, dns: &str, role| OperatorConfig {
                id: id.to_owned(),
                spiffe_id: None,
                dns: Some(dns.to_owned()),
                roles: vec![role],
            };
            config.operators =
                vec![named("o", OPERATOR, Role::Operator), named("a", AUDITOR, Role::Auditor)];
        })
        .await
    }

    pub(crate) async fn start(change: impl FnOnce(&Path, &mut PdpConfig)) -> Self {
        let root = tempfile::tempdir().unwrap();
        bundle(&root.path().join("bundle"));
        let mut config = PdpConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            bundle: root.path().join("bundle").into(),
            state_dir: root.path().join("state"),
            insecure_dev: true,
            ..PdpConfig::default()
        };
        change(root.path(), &mut config);
        let audit = AuditConfig { dir: root.path().join("audit"), ..AuditConfig::default() };
        let (authenticator, approver) = approvers();
        let running = start(config, &audit, Some(authenticator), Clock::system()).await.unwrap();
        Self { root, running, approver }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// What a token file holds.
    pub(crate) fn token(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap().trim().to_owned()
    }

    /// Stops, and finds what was recorded of a call.
    pub(crate) async fn recorded(self, call_ids: &[&str]) -> Vec<Vec<Record>> {
        let Self { root, running, .. } = self;
        running.stop("test").await;
        let logs = Logs::open(&[root.path().join("audit")]).unwrap();
        call_ids.iter().map(|id| logs.call(id, false).unwrap()).collect()
    }

    pub(crate) async fn stop(self) {
        self.running.stop("test").await;
    }
}

/// Asks only about reading, for the default tenant.
fn named_pep(root: &Path) -> PepConfig {
    PepConfig {
        id: "pep-1".to_owned(),
        token_file: Some(root.join("pep-1.token")),
        spiffe_id: None,
        dns: None,
        allow: Allow {
            tenants: vec![DEFAULT_TENANT.to_owned()],
            actions: vec!["tools/*".to_owned()],
            resources: vec!["tool:bank/read".to_owned()],
        },
    }
}

/// Who knows approvers, and the key of one.
fn approvers() -> (Authenticator, String) {
    let mut store = ApiKeyStore::default();
    let request = IssueRequest {
        id: "bob".to_owned(),
        tenant: DEFAULT_TENANT.to_owned(),
        subject: Some(PartyRef::new("user", "bob")),
        roles: vec![Role::Approver],
        ..IssueRequest::default()
    };
    let (key, _) = store.issue(&request, 1, [7; 32]).unwrap();
    let settings = Settings { api_keys: Some(store.into()), ..Settings::default() };
    let authenticator = Authenticator::new(settings).unwrap();
    (authenticator, (*key).to_owned())
}

fn bundle(root: &Path) {
    let write = |name: &str, text: &str| {
        let path = root.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(".manifest", r#"{"metadata":{"lictor":{"name":"t","version":1}}}"#);
    write("data.json", DATA);
    write("rego/u/u.rego", "package lictor.u\n\nallow if true\n");
}

/// An authority and a pair of files for each name.
fn certificates(root: &Path) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let write = |name: String, text: String| {
        use std::os::unix::fs::PermissionsExt as _;
        let path = root.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("ca.pem".to_owned(), ca.pem());
    for name in ["localhost", OPERATOR, AUDITOR, NOBODY] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        write(format!("{name}.pem"), params.signed_by(&key, &ca).unwrap().pem());
        write(format!("{name}.key"), key.serialize_pem());
    }
}
