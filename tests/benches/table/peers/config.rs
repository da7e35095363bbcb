//! What the other gateways are told: pass everything on to the server behind, as cheaply as they
//! can, and listen on loopback only.

use std::net::SocketAddr;

/// The credential of the client; LiteLLM checks it.
pub(super) const KEY: &str = "sk-bench-0123456789abcdef0123456789abcdef";

/// Makes a server of Node that names no host listen on loopback.
pub(super) const LOOPBACK: &str = include_str!("loopback.cjs");

/// LiteLLM fetches nothing and reports nothing.
pub(super) const LITELLM_ENVIRONMENT: [&str; 3] =
    ["LITELLM_LOCAL_MODEL_COST_MAP=True", "LITELLM_LOG=ERROR", "DO_NOT_TRACK=1"];

pub(super) fn litellm(behind: SocketAddr) -> String {
    format!(
        r#"model_list:
  - model_name: gpt-5-mini
    litellm_params: {{ model: openai/gpt-5-mini, api_base: "http://{behind}/v1", api_key: none }}
litellm_settings: {{ telemetry: false }}
general_settings: {{ master_key: {KEY} }}
"#
    )
}

/// Two listeners, the second of which asks the authorizer, with the body.
pub(super) fn envoy(plain: u16, authz: u16, behind: SocketAddr, authorizer: SocketAddr) -> String {
    let ask = r#"
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              transport_api_version: V3
              grpc_service: { envoy_grpc: { cluster_name: authorizer }, timeout: 5s }
              with_request_body: { max_request_bytes: 65536, allow_partial_message: false }"#;
    format!(
        "static_resources:\n  listeners:{}{}\n  clusters:{}{}\n",
        listener("plain", plain, ""),
        listener("authz", authz, ask),
        cluster("behind", behind, ""),
        cluster("authorizer", authorizer, HTTP2),
    )
}

const HTTP2: &str = r#"
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }"#;

fn listener(name: &str, port: u16, filters: &str) -> String {
    format!(
        r#"
  - name: {name}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: {name}
          route_config: {{ virtual_hosts: [ {{ name: all, domains: ["*"], routes: [ {{ match: {{ prefix: "/" }}, route: {{ cluster: behind }} }} ] }} ] }}
          http_filters:{filters}
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}"#
    )
}

fn cluster(name: &str, address: SocketAddr, more: &str) -> String {
    let (host, port) = (address.ip(), address.port());
    format!(
        r#"
  - name: {name}
    type: STATIC
    connect_timeout: 5s
    circuit_breakers: {{ thresholds: [ {{ max_connections: 4096, max_pending_requests: 4096, max_requests: 4096 }} ] }}
    load_assignment: {{ cluster_name: {name}, endpoints: [ {{ lb_endpoints: [ {{ endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {port} }} }} }} }} ] }} ] }}{more}"#
    )
}
