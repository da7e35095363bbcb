//! The two stories, step by step: who asks for what, and what must come of it. The
//! only place where the demonstration says what is right.

use lictor_proto::decision::Effect;

/// Which story a step belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story {
    /// An agent files an expense report for alice.
    Expense,
    /// An agent reviews pull requests for dave.
    Review,
    /// Who and what is not let in at all.
    Door,
}

impl Story {
    /// Its heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Expense => "Expense reports: expense-report-v1 acts for alice@example.com",
            Self::Review => "Pull requests: pr-review-v1 acts for dave@example.com",
            Self::Door => "At the door: who and what is not let in",
        }
    }
}

/// Whose credential is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// `expense-report-v1` for alice.
    Expense,
    /// `pr-review-v1` for dave.
    Review,
    /// An agent that the registry lacks, for alice.
    Unregistered,
    /// No credential.
    Nobody,
    /// Alice herself, with her own API key.
    Alice,
    /// Bob, alice's manager, with his own API key.
    Bob,
}

impl Caller {
    /// Subject and agent, for people.
    pub(crate) fn who(self) -> &'static str {
        match self {
            Self::Expense => "expense-report-v1 for alice@example.com",
            Self::Review => "pr-review-v1 for dave@example.com",
            Self::Unregistered => "helpful-agent-v0 for alice@example.com",
            Self::Nobody => "somebody without a token",
            Self::Alice => "alice@example.com in person",
            Self::Bob => "bob@example.com in person",
        }
    }
}

/// The half of MCP's history that a step speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// 2025-11-25.
    Legacy,
    /// 2026-07-28.
    Modern,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask {
    /// MCP `initialize`.
    Connect { server: &'static str },
    /// MCP `tools/list`; exactly these tools are seen.
    ListTools { server: &'static str, era: Era, seen: &'static [&'static str] },
    /// MCP `tools/call`; an allowed one's answer holds `shows`.
    CallTool { tool: &'static str, args: &'static str, era: Era, shows: &'static str },
    /// The answer of a person to the approval that was asked for last.
    Approve,
    /// An LLM chat; an allowed one's answer holds `shows`.
    Chat { model: &'static str, stream: bool, shows: &'static str },
    /// `/v1/models`; exactly these models are seen.
    ListModels { seen: &'static [&'static str] },
    /// A body for an MCP server as it is.
    RawMcp { server: &'static str, body: &'static str },
    /// A body for `/v1/chat/completions` as it is.
    RawChat { body: &'static str },
}

/// What must come of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expect {
    /// The effect, over the wire and in the logs.
    pub(crate) effect: Effect,
    /// Ids of all reasons, sorted: of a refusal over the wire and in the logs, of an
    /// allowed call in the decision point's log, where both engines' permits stand.
    pub(crate) reasons: &'static [&'static str],
    /// Whether the decision point was asked; what is refused before stands in the
    /// enforcement point's log alone.
    pub(crate) decided: bool,
}

/// One step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step {
    /// The story.
    pub(crate) story: Story,
    /// What happens, for a newcomer.
    pub(crate) title: &'static str,
    /// Who asks.
    pub(crate) caller: Caller,
    /// For what.
    pub(crate) ask: Ask,
    /// What must come of it.
    pub(crate) expect: Expect,
}

const fn allow(reasons: &'static [&'static str]) -> Expect {
    Expect { effect: Effect::Allow, reasons, decided: true }
}

const fn deny(reasons: &'static [&'static str]) -> Expect {
    Expect { effect: Effect::Deny, reasons, decided: true }
}

const fn ask(reasons: &'static [&'static str]) -> Expect {
    Expect { effect: Effect::Ask, reasons, decided: true }
}

/// Refused before the decision point is asked.
const fn refuse(reasons: &'static [&'static str]) -> Expect {
    Expect { effect: Effect::Deny, reasons, decided: false }
}

const fn expense(title: &'static str, ask: Ask, expect: Expect) -> Step {
    Step { story: Story::Expense, title, caller: Caller::Expense, ask, expect }
}

const fn review(title: &'static str, ask: Ask, expect: Expect) -> Step {
    Step { story: Story::Review, title, caller: Caller::Review, ask, expect }
}

const fn person(caller: Caller, title: &'static str, expect: Expect) -> Step {
    Step { story: Story::Expense, title, caller, ask: Ask::Approve, expect }
}

const fn door(caller: Caller, title: &'static str, ask: Ask, expect: Expect) -> Step {
    Step { story: Story::Door, title, caller, ask, expect }
}

/// A tool call of the newer protocol.
const fn call(tool: &'static str, args: &'static str, shows: &'static str) -> Ask {
    Ask::CallTool { tool, args, era: Era::Modern, shows }
}

const LARGE_REPORT: &str =
    r#"{"amount":900,"employee_id":"alice@example.com","description":"Trade fair"}"#;

/// All steps, in their order.
pub(crate) const STEPS: &[Step] = &[
    expense(
        "the agent connects to the accounting server",
        Ask::Connect { server: "accounting" },
        allow(&["expense.connect", "expense.grant.connect"]),
    ),
    expense(
        "it sees the four tools of its job and not the server's fifth",
        Ask::ListTools {
            server: "accounting",
            era: Era::Legacy,
            seen: &[
                "create_expense_report",
                "get_employee_cost_center",
                "receipt_ocr",
                "send_notification",
            ],
        },
        allow(&["expense.connect", "expense.grant.connect"]),
    ),
    expense(
        "it reads a receipt; the card number on it is masked",
        Ask::CallTool {
            tool: "accounting/receipt_ocr",
            args: r#"{"receipt_id":"r-2041"}"#,
            era: Era::Legacy,
            shows: "[card masked]",
        },
        allow(&["expense.grant.tools", "expense.receipt_ocr"]),
    ),
    expense(
        "a second receipt in the same session is one too many, in the other protocol too",
        call("accounting/receipt_ocr", r#"{"receipt_id":"r-2042"}"#, ""),
        deny(&["limit.expense.ocr_once"]),
    ),
    expense(
        "it looks up alice's own cost center",
        call(
            "accounting/get_employee_cost_center",
            r#"{"employee_id":"alice@example.com"}"#,
            "CC-1042",
        ),
        allow(&["expense.grant.tools", "expense.own_cost_center"]),
    ),
    expense(
        "another person's cost center is not its business",
        call("accounting/get_employee_cost_center", r#"{"employee_id":"bob@example.com"}"#, ""),
        deny(&["expense.not_own_cost_center"]),
    ),
    expense(
        "a report of 900 needs the consent of alice's manager",
        call("accounting/create_expense_report", LARGE_REPORT, ""),
        ask(&["expense.manager"]),
    ),
    person(
        Caller::Alice,
        "alice cannot consent to her own report",
        Expect { effect: Effect::Deny, reasons: &["approval_own_call"], decided: false },
    ),
    person(
        Caller::Bob,
        "bob, her manager in the registry, consents",
        Expect { effect: Effect::Allow, reasons: &[], decided: false },
    ),
    expense(
        "the same call again is carried out",
        call("accounting/create_expense_report", LARGE_REPORT, "report filed"),
        allow(&["expense.grant.tools", "expense.own_report"]),
    ),
    expense(
        "one report a session: even a small second one is refused",
        call(
            "accounting/create_expense_report",
            r#"{"amount":20,"employee_id":"alice@example.com"}"#,
            "",
        ),
        deny(&["limit.expense.report_once"]),
    ),
    expense(
        "over 5000 nobody can consent",
        call(
            "accounting/create_expense_report",
            r#"{"amount":7200,"employee_id":"alice@example.com"}"#,
            "",
        ),
        deny(&["expense.over_limit"]),
    ),
    expense(
        "an amount that is no number never reaches a rule",
        call(
            "accounting/create_expense_report",
            r#"{"amount":null,"employee_id":"alice@example.com"}"#,
            "",
        ),
        deny(&["args_invalid"]),
    ),
    expense(
        "alice's manager is notified",
        call(
            "accounting/send_notification",
            r#"{"recipient":"bob@example.com","message":"Report filed"}"#,
            "sent",
        ),
        allow(&["expense.grant.tools", "expense.notify_manager"]),
    ),
    expense(
        "a stranger is not, whatever a receipt may have told the agent",
        call(
            "accounting/send_notification",
            r#"{"recipient":"mallory@elsewhere.example","message":"Report filed"}"#,
            "",
        ),
        deny(&["expense.not_manager"]),
    ),
    review(
        "the agent sees two tools; deleting is hidden from it",
        Ask::ListTools {
            server: "github",
            era: Era::Modern,
            seen: &["add_review_comment", "list_pull_requests"],
        },
        allow(&["pr.connect", "pr.grant.connect"]),
    ),
    review(
        "it lists the open pull requests",
        call("github/list_pull_requests", r#"{"repository":"example/payments"}"#, "#7"),
        allow(&["pr.grant.tools", "pr.read"]),
    ),
    review(
        "it comments on one",
        call(
            "github/add_review_comment",
            r#"{"repository":"example/payments","number":7,"body":"Please add a test."}"#,
            "commented",
        ),
        allow(&["pr.comment", "pr.grant.tools"]),
    ),
    review(
        "a comment that names an internal host stays inside",
        call(
            "github/add_review_comment",
            r#"{"repository":"example/payments","number":7,"body":"See build7.corp.example.com"}"#,
            "",
        ),
        deny(&["pr.internal_host_in_comment"]),
    ),
    review(
        "deleting a branch is forbidden even when it is asked for by name",
        call("github/delete_branch", r#"{"repository":"example/payments","branch":"main"}"#, ""),
        deny(&["pr.no_delete"]),
    ),
    review(
        "of the provider's three models it sees the one of its team",
        Ask::ListModels { seen: &["gpt-5-mini"] },
        allow(&["pr.grant.provider", "pr.provider"]),
    ),
    review(
        "the model gives away a secret; it is masked before it arrives",
        Ask::Chat { model: "gpt-5-mini", stream: false, shows: "[secret masked]" },
        allow(&["pr.grant.models", "pr.model"]),
    ),
    review(
        "the same as a stream: no chunk carries a part of the secret",
        Ask::Chat { model: "gpt-5-mini", stream: true, shows: "[secret masked]" },
        allow(&["pr.grant.models", "pr.model"]),
    ),
    review(
        "a larger model is not the team's",
        Ask::Chat { model: "gpt-5", stream: false, shows: "" },
        deny(&["pr.model_not_allowed"]),
    ),
    door(
        Caller::Nobody,
        "without a token nothing is answered",
        call("accounting/receipt_ocr", r#"{"receipt_id":"r-1"}"#, ""),
        refuse(&["token_missing"]),
    ),
    door(
        Caller::Unregistered,
        "a good token for an agent that nobody registered",
        call("accounting/receipt_ocr", r#"{"receipt_id":"r-1"}"#, ""),
        deny(&["agent_unknown"]),
    ),
    door(
        Caller::Review,
        "a body that names its model twice can be read in two ways",
        Ask::RawChat {
            body: r#"{"model":"gpt-5-mini","model":"gpt-5","messages":[{"role":"user","content":"hello"}]}"#,
        },
        refuse(&["duplicate_key"]),
    ),
    door(
        Caller::Review,
        "several calls in one message would share one decision",
        Ask::RawMcp {
            server: "github",
            body: r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#,
        },
        refuse(&["batch_refused"]),
    ),
    door(
        Caller::Expense,
        "a method that no table names",
        Ask::RawMcp {
            server: "accounting",
            body: r#"{"jsonrpc":"2.0","id":1,"method":"tools/everything"}"#,
        },
        refuse(&["method_unknown"]),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sorted_and_refusals_have_some() {
        for step in STEPS {
            assert!(step.expect.reasons.is_sorted(), "{}", step.title);
            let refused = step.expect.effect != Effect::Allow;
            assert!(!refused || !step.expect.reasons.is_empty(), "{}", step.title);
        }
    }

    #[test]
    fn every_effect_is_shown() {
        for effect in [Effect::Allow, Effect::Deny, Effect::Ask] {
            assert!(STEPS.iter().any(|step| step.expect.effect == effect));
        }
    }
}
