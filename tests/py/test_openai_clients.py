"""The official OpenAI client through the enforcement point."""

import openai
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from lictor_site import EXPENSE, PROVIDER_KEY, REVIEW, Site
from mock_provider import SECRET, TEXT, USAGE, Provider
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionChunk

HELLO = [{"role": "user", "content": "Which key do we deploy with?"}]
MASKED = "The deploy key is [secret masked], keep it."
MODEL = "gpt-5-mini"
# A part of the secret that would be as good as a hint, characters.
HINT_CHARS = 4
WRONG = ["guess", "wrong", "expired", "forged", "the provider's", "none"]


def client(site: Site, key: str) -> OpenAI:
    """A client that shows `key` and does not try again."""
    return OpenAI(base_url=site.llm, api_key=key, max_retries=0, timeout=30)


def text_of(chunks: list[ChatCompletionChunk]) -> str:
    """The text that a stream adds up to."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def hints(text: str) -> list[str]:
    """Parts of the secret in `text`."""
    parts = [SECRET[at : at + HINT_CHARS] for at in range(len(SECRET) - HINT_CHARS + 1)]
    return [part for part in parts if part in text]


def test_the_mock_does_give_the_secret_away() -> None:
    assert hints(TEXT) and not hints(MASKED)


def test_an_answer_comes_with_its_secret_masked(site: Site) -> None:
    answer = client(site, site.key(REVIEW)).chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content == MASKED
    assert answer.choices[0].finish_reason == "stop" and answer.model == MODEL
    assert answer.usage.model_dump(exclude_unset=True) == USAGE


@pytest.mark.parametrize("piece_chars", [1, 2, 3, 7, len(SECRET), len(TEXT)])
@pytest.mark.parametrize("write_bytes", [0, 1, 61, 65536])
def test_a_streamed_answer_too_however_it_is_cut(
    site: Site, review_key: str, provider: Provider, piece_chars: int, write_bytes: int
) -> None:
    provider.piece_chars, provider.write_bytes = piece_chars, write_bytes
    chunks = list(client(site, review_key).chat.completions.create(model=MODEL, messages=HELLO, stream=True))
    assert text_of(chunks) == MASKED
    assert not hints("".join(chunk.model_dump_json() for chunk in chunks))
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert all(chunk.usage is None for chunk in chunks), "usage was not asked for"


def test_usage_ends_a_stream_that_asks_for_it(site: Site) -> None:
    chunks = list(
        client(site, site.key(REVIEW)).chat.completions.create(
            model=MODEL, messages=HELLO, stream=True, stream_options={"include_usage": True}
        )
    )
    assert text_of(chunks) == MASKED
    told = [chunk.usage.model_dump(exclude_unset=True) for chunk in chunks if chunk.usage]
    assert told == [USAGE] and chunks[-1].choices == []


def test_the_raw_stream_holds_nothing_of_the_secret_and_ends_as_it_should(site: Site) -> None:
    raw = client(site, site.key(REVIEW)).chat.completions.with_streaming_response
    with raw.create(model=MODEL, messages=HELLO, stream=True) as response:
        body = response.read().decode()
    assert response.headers["content-type"].startswith("text/event-stream")
    assert body.rstrip().endswith("data: [DONE]")
    assert not hints(body)


@pytest.mark.anyio
async def test_the_asynchronous_client_streams_too(site: Site, anyio_backend_name: str) -> None:
    assert anyio_backend_name == "asyncio"
    async with AsyncOpenAI(base_url=site.llm, api_key=site.key(REVIEW), max_retries=0, timeout=30) as caller:
        stream = await caller.chat.completions.create(model=MODEL, messages=HELLO, stream=True)
        assert text_of([chunk async for chunk in stream]) == MASKED


def test_models_are_listed_as_the_team_may_use_them(site: Site) -> None:
    assert [model.id for model in client(site, site.key(REVIEW)).models.list()] == [MODEL]


def test_an_agent_that_may_not_list_models_may_still_use_its_own(site: Site) -> None:
    caller = client(site, site.key(EXPENSE))
    with pytest.raises(openai.PermissionDeniedError) as refused:
        caller.models.list()
    assert refused.value.code == "no_permit"
    site.refused(refused.value.body["lictor"], "no_permit")
    answer = caller.chat.completions.create(model="gpt-5-nano", messages=HELLO)
    assert answer.choices[0].message.content == MASKED


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("who", "model", "reason"),
    [
        (REVIEW, "gpt-5", "pr.model_not_allowed"),
        (REVIEW, "gpt-9", "resource_unknown"),
        (EXPENSE, MODEL, "pr.model_not_allowed"),
    ],
)
def test_another_teams_model_is_refused_with_the_reason(
    site: Site, provider: Provider, who: tuple[str, str], model: str, reason: str, stream: bool
) -> None:
    before = len(provider.seen)
    with pytest.raises(openai.PermissionDeniedError) as refused:
        client(site, site.key(who)).chat.completions.create(model=model, messages=HELLO, stream=stream)
    assert refused.value.code == reason and refused.value.type == "permission_error"
    site.refused(refused.value.body["lictor"], reason)
    assert len(provider.seen) == before


def test_a_token_of_the_login_server_is_as_good_as_a_key(site: Site) -> None:
    answer = client(site, site.token(*REVIEW)).chat.completions.create(model=MODEL, messages=HELLO)
    assert answer.choices[0].message.content == MASKED


@pytest.mark.parametrize("what", WRONG)
def test_wrong_keys_are_refused(
    site: Site, provider: Provider, what: str, strange_login: Ed25519PrivateKey
) -> None:
    key, reason = {
        "guess": ("sk-not-a-key", "token_malformed"),
        "wrong": (site.foreign_key, "api_key_unknown"),
        "expired": (site.token(*REVIEW, lifetime_s=-600), "token_expired"),
        "forged": (site.token(*REVIEW, key=strange_login), "signature_invalid"),
        "the provider's": (PROVIDER_KEY, "token_malformed"),
        "none": ("", "token_missing"),
    }[what]
    before = len(provider.seen)
    with pytest.raises(openai.AuthenticationError) as refused:
        caller = client(site, key or "unused")
        headers = {} if key else {"Authorization": openai.Omit()}
        caller.chat.completions.create(model=MODEL, messages=HELLO, extra_headers=headers)
    assert refused.value.code == reason and refused.value.type == "authentication_error"
    assert not key or key not in str(refused.value)
    site.refused(refused.value.body["lictor"], reason, decided=False)
    assert len(provider.seen) == before


def test_the_provider_sees_its_own_key_and_what_the_caller_said(site: Site, provider: Provider) -> None:
    before = len(provider.seen)
    key = site.key(REVIEW)
    client(site, key).chat.completions.create(
        model=MODEL, messages=HELLO, temperature=0.25, extra_body={"later": {"x": [1, None]}}
    )
    client(site, key).models.list()
    [(chat, body), (models, _)] = provider.seen[before:]
    assert chat == models == f"Bearer {PROVIDER_KEY}"
    assert body == {"model": MODEL, "messages": HELLO, "temperature": 0.25, "later": {"x": [1, None]}}
    assert all(key not in authorization for authorization, _ in provider.seen)
