//! The one table of MCP methods. A method that is not in it is denied `method_unknown`.

use lictor_proto::call::ResourceKind;

/// The action of everything that only keeps a connection going.
pub(crate) const CONNECT: &str = "mcp/connect";

/// How a method is decided and how its answer is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Keeps the connection going.
    Plumbing,
    /// Answers with a list whose entries are decided one by one.
    List(ListOf),
    /// Runs something.
    Call,
    /// Reads something.
    Read,
}

/// What a list holds, how its entries are named, and what using one would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListOf {
    /// The member of the result that is the list.
    pub(crate) member: &'static str,
    /// The member of an entry that names it.
    pub(crate) key: &'static str,
    /// The action that uses an entry.
    pub(crate) action: &'static str,
    /// What an entry is.
    pub(crate) kind: ResourceKind,
}

/// One method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// The JSON-RPC method.
    pub(crate) method: &'static str,
    /// The action that policy sees.
    pub(crate) action: &'static str,
    /// What it is done to.
    pub(crate) kind: ResourceKind,
    /// The member of `params` that names the resource below the server; none means the server.
    pub(crate) param: Option<&'static str>,
    /// The member of `params` that `Mcp-Name` must repeat.
    pub(crate) named: Option<&'static str>,
    /// How it is treated.
    pub(crate) class: Class,
}

const TOOLS: ListOf =
    ListOf { member: "tools", key: "name", action: "tools/call", kind: ResourceKind::Tool };
const PROMPTS: ListOf =
    ListOf { member: "prompts", key: "name", action: "prompts/get", kind: ResourceKind::Prompt };
const RESOURCES: ListOf = ListOf {
    member: "resources",
    key: "uri",
    action: "resources/read",
    kind: ResourceKind::Resource,
};
const TEMPLATES: ListOf = ListOf { member: "resourceTemplates", key: "uriTemplate", ..RESOURCES };

const fn server(method: &'static str, action: &'static str, class: Class) -> Row {
    Row { method, action, kind: ResourceKind::Server, param: None, named: None, class }
}

const fn task(method: &'static str) -> Row {
    Row { named: Some("taskId"), ..server(method, method, Class::Read) }
}

const fn entry(method: &'static str, kind: ResourceKind, param: &'static str, class: Class) -> Row {
    Row { method, action: method, kind, param: Some(param), named: Some(param), class }
}

/// What a POST that answers a request of the server (legacy) counts as.
pub(crate) const ANSWER: Row = server("", CONNECT, Class::Plumbing);
/// What opening or ending a legacy session's stream counts as.
pub(crate) const SESSION: Row = server("", CONNECT, Class::Plumbing);

const ROWS: &[Row] = &[
    server("initialize", CONNECT, Class::Plumbing),
    server("ping", CONNECT, Class::Plumbing),
    server("server/discover", CONNECT, Class::Plumbing),
    server("notifications/initialized", CONNECT, Class::Plumbing),
    server("notifications/cancelled", CONNECT, Class::Plumbing),
    server("notifications/progress", CONNECT, Class::Plumbing),
    server("notifications/roots/list_changed", CONNECT, Class::Plumbing),
    server("notifications/elicitation/complete", CONNECT, Class::Plumbing),
    server("notifications/tasks/status", CONNECT, Class::Plumbing),
    server("logging/setLevel", CONNECT, Class::Plumbing),
    server("subscriptions/listen", CONNECT, Class::Plumbing),
    server("completion/complete", "completion/complete", Class::Read),
    server("tools/list", "tools/list", Class::List(TOOLS)),
    server("prompts/list", "prompts/list", Class::List(PROMPTS)),
    server("resources/list", "resources/list", Class::List(RESOURCES)),
    server("resources/templates/list", "resources/templates/list", Class::List(TEMPLATES)),
    entry("tools/call", ResourceKind::Tool, "name", Class::Call),
    entry("prompts/get", ResourceKind::Prompt, "name", Class::Read),
    entry("resources/read", ResourceKind::Resource, "uri", Class::Read),
    // `Mcp-Name` is for the three above and for tasks only.
    Row { named: None, ..entry("resources/subscribe", ResourceKind::Resource, "uri", Class::Read) },
    Row {
        named: None,
        ..entry("resources/unsubscribe", ResourceKind::Resource, "uri", Class::Read)
    },
    task("tasks/get"),
    task("tasks/result"),
    task("tasks/update"),
    task("tasks/cancel"),
    server("tasks/list", "tasks/list", Class::Read),
];

/// The row of `method`.
pub(crate) fn row(method: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.method == method)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_stands_once() {
        for row in ROWS {
            assert_eq!(ROWS.iter().filter(|r| r.method == row.method).count(), 1, "{}", row.method);
            assert!(!row.method.is_empty());
        }
    }

    #[test]
    fn plumbing_is_connecting_and_nothing_else_is() {
        for row in ROWS {
            assert_eq!(row.class == Class::Plumbing, row.action == CONNECT, "{}", row.method);
            assert_eq!(row.param.is_none(), row.kind == ResourceKind::Server, "{}", row.method);
        }
        assert!(row("notifications/initialized").is_some());
    }

    #[test]
    fn names_are_exact() {
        for unknown in ["", "tools/Call", "tools/call ", "tools", "notifications/x", "rpc.discover"]
        {
            assert_eq!(row(unknown), None, "{unknown}");
        }
    }
}
