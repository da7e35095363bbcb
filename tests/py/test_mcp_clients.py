"""The official MCP client through the enforcement point, in both protocol eras."""

import contextlib
from collections.abc import AsyncIterator, Callable

import httpx2
import jwt
import pytest
from fixture_server import ToolServer
from lictor_site import EXPENSE, REVIEW, Site
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

ALICE, BOB, REPOSITORY = EXPENSE[0], "bob@example.com", "example/payments"
CODE_DENY, CODE_ASK, CODE_UNAUTHENTICATED = -31001, -31002, -31003
OFFERED = {
    "accounting": {"receipt_ocr", "get_employee_cost_center", "create_expense_report", "send_notification"},
    "github": {"list_pull_requests", "add_review_comment"},
}
OWNERS = {"accounting": EXPENSE, "github": REVIEW}
# The longest that an assertion may hold, seconds.
ASSERTION_MAX_TTL_S = 60
Connect = Callable[[str, str], contextlib.AbstractAsyncContextManager[Client]]

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[("auto", "2026-07-28"), ("legacy", "2025-11-25")], ids=["modern", "legacy"])
def era(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The SDK's mode, and the version that it must come to: it probes for the newer one by itself."""
    return request.param


@pytest.fixture
def connect(site: Site, era: tuple[str, str]) -> Connect:
    """Connects to a server with a key, in the test's era."""

    @contextlib.asynccontextmanager
    async def connected(server: str, key: str) -> AsyncIterator[Client]:
        headers = {"authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
            transport = streamable_http_client(f"{site.mcp}/{server}", http_client=http)
            async with Client(transport, mode=era[0]) as client:
                assert client.protocol_version == era[1]
                yield client

    return connected


async def refusal(
    site: Site, client: Client, tool: str, args: dict, reason: str, code: int = CODE_DENY
) -> dict:
    """Calls a tool, which must be refused for `reason`; what Lictor said."""
    with pytest.raises(MCPError) as caught:
        await client.call_tool(tool, args)
    assert caught.value.code == code and reason in caught.value.error.message, caught.value
    told = caught.value.error.data["lictor"]
    site.refused(told, reason)
    return told


@pytest.mark.parametrize("server", OFFERED)
async def test_tools_are_listed_as_the_caller_may_use_them(
    site: Site, connect: Connect, era: tuple[str, str], server: str
) -> None:
    async with connect(server, site.key(OWNERS[server])) as client:
        listed = await client.list_tools()
        names = [tool.name for tool in listed.tools]
        assert set(names) == OFFERED[server] and len(names) == len(set(names))
        assert all(tool.description and tool.input_schema["type"] == "object" for tool in listed.tools)
    if era[0] == "auto":
        assert listed.cache_scope == "private", "a list made for one caller is not for others"


async def test_another_agents_server_cannot_be_connected_to(
    site: Site, connect: Connect, tools: dict[str, ToolServer]
) -> None:
    before = len(tools["github"].seen())
    with pytest.raises(ExceptionGroup) as caught:
        async with connect("github", site.key(EXPENSE)):
            pytest.fail("it connected")
    error = protocol_error(caught.value)
    assert error.code == CODE_DENY
    site.refused(error.error.data["lictor"], "no_permit")
    assert len(tools["github"].seen()) == before


async def test_what_is_hidden_is_denied_by_name_too(site: Site, connect: Connect) -> None:
    async with connect("accounting", site.key(EXPENSE)) as client:
        await refusal(site, client, "wipe_ledger", {}, "resource_unknown")
    async with connect("github", site.key(REVIEW)) as client:
        args = {"repository": REPOSITORY, "branch": "main"}
        await refusal(site, client, "delete_branch", args, "pr.no_delete")


async def test_allowed_calls_return_what_the_server_said(site: Site, connect: Connect) -> None:
    async with connect("accounting", site.key(EXPENSE)) as client:
        own = await client.call_tool("get_employee_cost_center", {"employee_id": ALICE})
        assert not own.is_error and own.content[0].text == f"{ALICE}: CC-1042"
        sent = await client.call_tool("send_notification", {"recipient": BOB, "message": "filed"})
        assert sent.content[0].text == f"told {BOB}: 5 characters"
        small = await client.call_tool("create_expense_report", {"employee_id": ALICE, "amount": 500})
        assert small.content[0].text == f"filed 500.00 for {ALICE}"
    async with connect("github", site.key(REVIEW)) as client:
        listed = await client.call_tool("list_pull_requests", {"repository": REPOSITORY})
        assert listed.content[0].text == f"{REPOSITORY}: #7"


async def test_a_card_number_in_a_result_is_masked(site: Site, connect: Connect) -> None:
    async with connect("accounting", site.key(EXPENSE)) as client:
        receipt = await client.call_tool("receipt_ocr", {"receipt_id": "r-1"})
    assert receipt.content[0].text == "receipt r-1: card [card masked], 127.50 EUR"
    assert "4111" not in receipt.model_dump_json()


async def test_once_is_once_in_every_connection(site: Site, connect: Connect) -> None:
    key = site.key(EXPENSE)
    async with connect("accounting", key) as client:
        await client.call_tool("receipt_ocr", {"receipt_id": "r-1"})
        await refusal(site, client, "receipt_ocr", {"receipt_id": "r-2"}, "limit.expense.ocr_once")
    async with connect("accounting", key) as client:
        await refusal(site, client, "receipt_ocr", {"receipt_id": "r-3"}, "limit.expense.ocr_once")
    async with connect("accounting", site.key(EXPENSE)) as client:
        other = await client.call_tool("receipt_ocr", {"receipt_id": "r-4"})
        assert not other.is_error, "another session counts for itself"


@pytest.mark.parametrize(
    ("tool", "args", "reason"),
    [
        ("get_employee_cost_center", {"employee_id": BOB}, "expense.not_own_cost_center"),
        ("create_expense_report", {"employee_id": ALICE, "amount": 5000.01}, "expense.over_limit"),
        ("create_expense_report", {"employee_id": BOB, "amount": 20}, "expense.not_own_report"),
        ("create_expense_report", {"employee_id": ALICE, "amount": "20"}, "args_invalid"),
        ("send_notification", {"recipient": "mallory@x.example", "message": "x"}, "expense.not_manager"),
    ],
)
async def test_denied_calls_never_reach_the_server(
    site: Site, connect: Connect, tools: dict[str, ToolServer], tool: str, args: dict, reason: str
) -> None:
    async with connect("accounting", site.key(EXPENSE)) as client:
        before = tools["accounting"].ran()
        told = await refusal(site, client, tool, args, reason)
        assert tools["accounting"].ran() == before
    assert "asked for" not in str(told) and "mallory" not in str(told), "details are for operators"


async def test_a_manager_is_asked_and_then_it_is_done(
    site: Site, connect: Connect, era: tuple[str, str]
) -> None:
    report = {"employee_id": ALICE, "amount": 900, "description": era[0]}
    async with connect("accounting", site.key(EXPENSE)) as client:
        told = await refusal(site, client, "create_expense_report", report, "expense.manager", CODE_ASK)
        approval = told["approval"]["id"]
        said = site.approve(approval, "alice", code=1)
        assert "approval_own_call" in said, "nobody consents to a report of their own"
        await refusal(site, client, "create_expense_report", report, "expense.manager", CODE_ASK)
        site.approve(approval, "bob")
        other = report | {"amount": 901}
        await refusal(site, client, "create_expense_report", other, "expense.manager", CODE_ASK)
        done = await client.call_tool("create_expense_report", report)
        assert done.content[0].text == f"filed 900.00 for {ALICE} {era[0]}"
        small = {"employee_id": ALICE, "amount": 20}
        await refusal(site, client, "create_expense_report", small, "limit.expense.report_once")


async def test_the_server_gets_an_assertion_and_never_the_callers_key(
    site: Site, connect: Connect, tools: dict[str, ToolServer]
) -> None:
    before = len(tools["accounting"].seen())
    key = site.key(EXPENSE)
    async with connect("accounting", key) as client:
        await client.call_tool("get_employee_cost_center", {"employee_id": ALICE})
    seen = tools["accounting"].seen()[before:]
    assert seen and key not in str(seen)
    shown = [[value for name, value in headers if name == "authorization"] for headers in seen]
    assert all(len(values) == 1 and values[0].startswith("Bearer ") for values in shown), shown
    public_url = site.mcp.removesuffix("/mcp")
    keys = httpx2.get(f"{public_url}/.well-known/jwks.json").raise_for_status().json()["keys"]
    verifier = {one["kid"]: jwt.PyJWK(one) for one in keys}
    called = []
    for [value] in shown:
        assertion = value.removeprefix("Bearer ")
        kid = jwt.get_unverified_header(assertion)["kid"]
        audience = f"http://127.0.0.1:{tools['accounting'].port}/mcp"
        claims = jwt.decode(assertion, verifier[kid], ["EdDSA"], audience=audience, issuer=public_url)
        assert claims["sub"] == ALICE and claims["act"]["sub"] == EXPENSE[1]
        assert claims["exp"] - claims["iat"] <= ASSERTION_MAX_TTL_S and claims["decision_id"]
        called.append((claims["jti"], claims["tool"]))
    assert len(dict(called)) == len(called), "each assertion is used once"
    assert "accounting/get_employee_cost_center" in dict(called).values()


async def test_a_token_of_the_login_server_is_as_good_as_a_key(site: Site, connect: Connect) -> None:
    async with connect("accounting", site.token(*EXPENSE)) as client:
        own = await client.call_tool("get_employee_cost_center", {"employee_id": ALICE})
        assert own.content[0].text == f"{ALICE}: CC-1042"
    async with connect("accounting", site.token(*EXPENSE)) as client:
        args = {"employee_id": BOB}
        await refusal(site, client, "get_employee_cost_center", args, "expense.not_own_cost_center")


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        ("none", "token_missing"),
        ("guess", "token_malformed"),
        ("wrong", "api_key_unknown"),
        ("expired", "token_expired"),
        ("unregistered", "agent_unknown"),
    ],
)
async def test_whoever_is_not_known_does_not_connect(
    site: Site, era: tuple[str, str], tools: dict[str, ToolServer], credential: str, reason: str
) -> None:
    shown = {
        "none": "",
        "guess": "sesame",
        "wrong": site.foreign_key,
        "expired": site.token(*EXPENSE, lifetime_s=-600),
        "unregistered": site.token(ALICE, "helpful-agent-v0"),
    }[credential]
    answers: list[tuple[int, dict]] = []

    async def remember(response: httpx2.Response) -> None:
        await response.aread()
        answers.append((response.status_code, response.json()))

    before = len(tools["accounting"].seen())
    headers = {"authorization": f"Bearer {shown}"} if shown else {}
    async with httpx2.AsyncClient(headers=headers, timeout=30, event_hooks={"response": [remember]}) as http:
        transport = streamable_http_client(f"{site.mcp}/accounting", http_client=http)
        with pytest.raises(ExceptionGroup):
            async with Client(transport, mode=era[0]):
                pytest.fail("it connected")
    assert answers and len(tools["accounting"].seen()) == before
    known = reason == "agent_unknown"
    for status, body in answers:
        assert known or status == 401, answers
        assert body["error"]["code"] == (CODE_DENY if known else CODE_UNAUTHENTICATED)
        site.refused(body["error"]["data"]["lictor"], reason, decided=known)


def protocol_error(error: BaseException) -> MCPError:
    """The protocol's error at the bottom of groups of one."""
    while isinstance(error, BaseExceptionGroup):
        [error] = error.exceptions
    assert isinstance(error, MCPError), error
    return error
