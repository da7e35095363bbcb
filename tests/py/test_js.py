"""The official JavaScript clients of MCP and OpenAI through the enforcement points."""

import json
import os
import subprocess
from pathlib import Path

from lictor_site import EXPENSE, REVIEW, Site
from processes import DEADLINE_S

SCRIPT = Path(__file__).resolve().parents[1] / "js" / "clients.mjs"
MASKED = "The deploy key is [secret masked], keep it."


def test_javascript_clients_see_what_python_clients_see(site: Site) -> None:
    environment = os.environ | {
        "LICTOR_MCP": site.mcp,
        "LICTOR_LLM": site.llm,
        "EXPENSE_TOKEN": site.token(*EXPENSE),
        "REVIEW_TOKEN": site.token(*REVIEW),
    }
    ended = subprocess.run(
        ["node", str(SCRIPT)], env=environment, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert ended.returncode == 0, ended
    assert json.loads(ended.stdout) == {
        "tools": {
            "listed": ["create_expense_report", "get_employee_cost_center", "receipt_ocr", "send_notification"],
            "allowed": "alice@example.com: CC-1042",
            "denied": {"code": -31001, "reasons": ["expense.not_own_cost_center"]},
        },
        "chat": {
            "whole": MASKED,
            "streamed": MASKED,
            "models": ["gpt-5-mini"],
            "denied": {"status": 403, "code": "pr.model_not_allowed"},
        },
    }
