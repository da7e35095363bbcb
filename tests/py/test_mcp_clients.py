"""The official MCP client through the enforcement point, in both protocol eras."""

import contextlib
from collections.abc import AsyncIterator

import httpx2
import pytest
from lictor_site import Site
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

pytestmark = pytest.mark.anyio

ALICE = "alice@example.com"
EXPENSE = (ALICE, "expense-report-v1")
REVIEW = ("dave@example.com", "pr-review-v1")
ERAS = [("auto", "2026-07-28"), ("legacy", "2025-11-25")]
CODE_DENY, CODE_ASK, CODE_UNAUTHENTICATED = -31001, -31002, -31003


@pytest.fixture
def anyio_backend() -> str:
    """One event loop is enough."""
    return "asyncio"


@contextlib.asynccontextmanager
async def connected(site: Site, server: str, token: str, mode: str) -> AsyncIterator[Client]:
    """A client of `server` that shows `token`; `mode` is the SDK's: probing, or the old handshake."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(f"{site.mcp}/{server}", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


def refusal(error: MCPError) -> dict:
    """What Lictor says of it."""
    return error.error.data["lictor"]


@pytest.mark.parametrize(("mode", "version"), ERAS)
async def test_tools_are_listed_as_the_caller_may_use_them(site: Site, mode: str, version: str) -> None:
    async with connected(site, "accounting", site.token(*EXPENSE), mode) as client:
        assert client.protocol_version == version
        tools = (await client.list_tools()).tools
    names = {tool.name for tool in tools}
    assert names == {"receipt_ocr", "get_employee_cost_center", "create_expense_report", "send_notification"}
    assert all(tool.input_schema["type"] == "object" for tool in tools)
    async with connected(site, "github", site.token(*REVIEW), mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
    assert names == {"list_pull_requests", "add_review_comment"}


@pytest.mark.parametrize(("mode", "version"), ERAS)
async def test_a_list_for_one_caller_is_not_cached_for_others(site: Site, mode: str, version: str) -> None:
    async with connected(site, "accounting", site.token(*EXPENSE), mode) as client:
        assert client.protocol_version == version
        listed = await client.list_tools()
    if mode == "auto":
        assert listed.cache_scope == "private"


@pytest.mark.parametrize(("mode", "_version"), ERAS)
async def test_allowed_calls_are_answered_and_masked(site: Site, mode: str, _version: str) -> None:
    async with connected(site, "accounting", site.token(*EXPENSE), mode) as client:
        own = await client.call_tool("get_employee_cost_center", {"employee_id": ALICE})
        assert not own.is_error and own.content[0].text == f"{ALICE}: CC-1042"
        receipt = await client.call_tool("receipt_ocr", {"receipt_id": "r-1"})
        assert "[card masked]" in receipt.content[0].text
        assert "4111" not in receipt.model_dump_json()


@pytest.mark.parametrize(("mode", "_version"), ERAS)
async def test_denied_calls_are_errors_that_say_why(site: Site, mode: str, _version: str) -> None:
    async with connected(site, "accounting", site.token(*EXPENSE), mode) as client:
        with pytest.raises(MCPError) as denied:
            await client.call_tool("get_employee_cost_center", {"employee_id": "bob@example.com"})
        assert denied.value.code == CODE_DENY
        told = refusal(denied.value)
        assert [reason["id"] for reason in told["reasons"]] == ["expense.not_own_cost_center"]
        assert told["decision_id"] and told["call_id"]
        assert "asked for" not in str(told), "details are for operators"
        with pytest.raises(MCPError) as denied:
            await client.call_tool("wipe_ledger", {})
        assert refusal(denied.value)["reasons"][0]["id"] == "resource_unknown"
    said = site.records(told["call_id"])
    assert {record["kind"] for record in said} == {"decision", "enforcement"}
    async with connected(site, "github", site.token(*REVIEW), mode) as client:
        with pytest.raises(MCPError) as denied:
            args = {"repository": "example/payments", "branch": "main"}
            await client.call_tool("delete_branch", args)
        assert "pr.no_delete" in [reason["id"] for reason in refusal(denied.value)["reasons"]]


@pytest.mark.parametrize(("mode", "_version"), ERAS)
async def test_once_is_once_for_each_session(site: Site, mode: str, _version: str) -> None:
    token = site.token(*EXPENSE)
    async with connected(site, "accounting", token, mode) as client:
        await client.call_tool("receipt_ocr", {"receipt_id": "r-1"})
    # Another connection, and the other era, are the same session: dropping it gains nothing.
    for other, _ in ERAS:
        async with connected(site, "accounting", token, other) as client:
            with pytest.raises(MCPError) as denied:
                await client.call_tool("receipt_ocr", {"receipt_id": "r-2"})
            assert refusal(denied.value)["reasons"][0]["id"] == "limit.expense.ocr_once"


@pytest.mark.parametrize(("mode", "_version"), ERAS)
async def test_a_manager_is_asked_and_then_it_is_done(lictor, mode: str, _version: str) -> None:
    site = lictor.site
    report = {"employee_id": ALICE, "amount": 900, "description": mode}
    async with connected(site, "accounting", site.token(*EXPENSE), mode) as client:
        with pytest.raises(MCPError) as asked:
            await client.call_tool("create_expense_report", report)
        assert asked.value.code == CODE_ASK
        told = refusal(asked.value)
        assert told["reasons"][0]["id"] == "expense.manager" and told["approval"]["id"]
        answer(lictor, told["approval"]["id"], "alice", code=1)
        answer(lictor, told["approval"]["id"], "bob", code=0)
        with pytest.raises(MCPError) as other:
            await client.call_tool("create_expense_report", report | {"amount": 901})
        assert other.value.code == CODE_ASK, "another amount is another matter"
        done = await client.call_tool("create_expense_report", report)
        assert done.content[0].text.startswith("filed 900.00")
        with pytest.raises(MCPError) as again:
            await client.call_tool("create_expense_report", report)
        assert again.value.code in (CODE_ASK, CODE_DENY), "an approval is used once"
        with pytest.raises(MCPError) as never:
            await client.call_tool("create_expense_report", report | {"amount": 9000})
        assert "expense.over_limit" in [reason["id"] for reason in refusal(never.value)["reasons"]]


def answer(lictor, approval: str, who: str, code: int) -> None:
    """Answers an approval with somebody's own credential."""
    site = lictor.site
    token = site.root / f"{who}.token"
    token.touch(mode=0o600)
    token.write_text(getattr(lictor.keys, who))
    door = ["--pdp", site.pdp, "--pdp-token-file", "state/operator.token"]
    site.lictor("approvals", "approve", approval, "--token", token.name, *door, code=code)


@pytest.mark.parametrize(("mode", "_version"), ERAS)
async def test_whoever_is_not_known_does_not_connect(site: Site, mode: str, _version: str) -> None:
    for token in ("", "sesame", site.token(*EXPENSE, lifetime_s=-600)):
        with pytest.raises(BaseException) as refused:
            async with connected(site, "accounting", token, mode) as client:
                await client.list_tools()
        assert any_of(refused.value, ("401", "Unauthorized", "token_")), refused.value


def any_of(error: BaseException, words: tuple[str, ...]) -> bool:
    """Whether the error, or one in its group, says one of `words`."""
    nested = error.exceptions if isinstance(error, BaseExceptionGroup) else []
    data = str(getattr(getattr(error, "error", None), "data", ""))
    return any(word in str(error) + data for word in words) or any(any_of(one, words) for one in nested)
