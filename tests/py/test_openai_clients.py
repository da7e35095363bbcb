"""The official OpenAI client through the enforcement point."""

import openai
import pytest
from lictor_site import PROVIDER_KEY, Site
from openai import OpenAI
from provider import SECRET

HELLO = [{"role": "user", "content": "Which key do we deploy with?"}]
MASKED = "[secret masked]"
EXPENSE = ("alice@example.com", "expense-report-v1")
REVIEW = ("dave@example.com", "pr-review-v1")


def client(site: Site, token: str) -> OpenAI:
    """A client that shows `token` and does not try again."""
    return OpenAI(base_url=site.llm, api_key=token, max_retries=0, timeout=30)


def test_an_answer_comes_with_its_secret_masked(site: Site) -> None:
    answer = client(site, site.token(*REVIEW)).chat.completions.create(model="gpt-5-mini", messages=HELLO)
    text = answer.choices[0].message.content
    assert text == f"The deploy key is {MASKED}, keep it."
    assert answer.choices[0].finish_reason == "stop" and answer.usage.total_tokens == 25


def test_a_streamed_answer_too(site: Site) -> None:
    stream = client(site, site.token(*REVIEW)).chat.completions.create(
        model="gpt-5-mini", messages=HELLO, stream=True
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == f"The deploy key is {MASKED}, keep it."
    assert SECRET not in "".join(chunk.model_dump_json() for chunk in chunks)
    finishes = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert finishes[-1] == "stop"


def test_the_raw_stream_holds_nothing_of_it_and_ends_as_it_should(site: Site) -> None:
    raw = client(site, site.token(*REVIEW)).chat.completions.with_streaming_response
    with raw.create(model="gpt-5-mini", messages=HELLO, stream=True) as response:
        body = response.read().decode()
    assert response.headers["content-type"].startswith("text/event-stream")
    assert body.rstrip().endswith("data: [DONE]")
    assert SECRET not in body and "AKI" not in body


def test_models_are_listed_as_the_team_may_use_them(site: Site) -> None:
    models = client(site, site.token(*REVIEW)).models.list()
    assert [model.id for model in models] == ["gpt-5-mini"]


def test_another_teams_model_is_refused_with_the_reason(site: Site) -> None:
    for model, reason in (("gpt-5", "pr.model_not_allowed"), ("gpt-9", "resource_unknown")):
        with pytest.raises(openai.PermissionDeniedError) as refused:
            client(site, site.token(*REVIEW)).chat.completions.create(model=model, messages=HELLO)
        assert refused.value.code == reason
        told = refused.value.body["lictor"]
        assert reason in [one["id"] for one in told["reasons"]] and told["decision_id"]
        assert {record["kind"] for record in site.records(told["call_id"])} == {"decision", "enforcement"}


def test_each_agent_has_its_own_models(site: Site) -> None:
    answer = client(site, site.token(*EXPENSE)).chat.completions.create(model="gpt-5-nano", messages=HELLO)
    assert MASKED in answer.choices[0].message.content
    with pytest.raises(openai.PermissionDeniedError):
        client(site, site.token(*EXPENSE)).chat.completions.create(model="gpt-5-mini", messages=HELLO)


def test_an_api_key_is_as_good_as_a_token(lictor) -> None:
    answer = client(lictor.site, lictor.keys.agent).chat.completions.create(model="gpt-5-mini", messages=HELLO)
    assert MASKED in answer.choices[0].message.content


def test_wrong_keys_are_refused(site: Site) -> None:
    for key in ("sk-not-a-key", "lictor", site.token(*REVIEW, lifetime_s=-600), PROVIDER_KEY):
        with pytest.raises(openai.AuthenticationError) as refused:
            client(site, key).chat.completions.create(model="gpt-5-mini", messages=HELLO)
        assert key not in str(refused.value)


def test_the_provider_sees_its_own_key_and_the_bytes_of_the_caller(lictor) -> None:
    before = len(lictor.provider.seen)
    token = lictor.site.token(*REVIEW)
    client(lictor.site, token).chat.completions.create(
        model="gpt-5-mini", messages=HELLO, temperature=0.25, extra_body={"later": {"x": [1, None]}}
    )
    seen = lictor.provider.seen[before:]
    assert [authorization for authorization, _ in seen] == [f"Bearer {PROVIDER_KEY}"]
    assert seen[0][1] == {
        "model": "gpt-5-mini", "messages": HELLO, "temperature": 0.25, "later": {"x": [1, None]},
    }
    assert all(token not in authorization for authorization, _ in lictor.provider.seen)
