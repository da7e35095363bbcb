"""An OpenAI-compatible model provider that gives a secret away in every answer, whole or in pieces of any
size, and remembers what it was shown."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Of the form of an access key that belongs to nobody, put together here, so that no scanner of
# sources takes it for a leak.
SECRET = "".join(["AKIA", "Q3ZV", "7LDM", "TXK2", "WHN5"])
TEXT = f"The deploy key is {SECRET}, keep it."
MODELS = ["gpt-5", "gpt-5-mini", "gpt-5-nano"]
USAGE = {"prompt_tokens": 9, "completion_tokens": 16, "total_tokens": 25}
PIECE_CHARS = 3
# Longest pause of a stream, seconds.
PAUSE_MAX_S = 60


class Provider:
    """Listens on a free port. `seen` holds every `Authorization` and body; `piece_chars` is how much of
    the text one event of a stream holds, `write_bytes` how much of a stream is written at once, where 0
    means one event. A stream pauses after half of its writes where `pause` is set, until that event is.
    `cut` holds the streams whose reader went away."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict]] = []
        self.cut: list[dict] = []
        self.reset()
        provider = self

        class Handler(_Handler):
            owner = provider

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def reset(self) -> None:
        """Answers in the usual pieces again."""
        self.piece_chars, self.write_bytes = PIECE_CHARS, 0
        self.pause: threading.Event | None = None

    def close(self) -> None:
        """Stops listening."""
        self.server.shutdown()
        self.server.server_close()

    def writes(self, events: list[str]) -> list[bytes]:
        """A stream as it is written."""
        if not self.write_bytes:
            return [event.encode() for event in events]
        stream, size = "".join(events).encode(), self.write_bytes
        return [stream[at : at + size] for at in range(0, len(stream), size)]


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    owner: Provider

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: what was seen is in `seen`."""

    def do_GET(self) -> None:
        """The models."""
        self.owner.seen.append((self.headers.get("authorization", ""), {}))
        if self.path != "/v1/models":
            self.answer(404, {"error": {"message": "no such page", "type": "invalid_request_error"}})
            return
        data = [{"id": name, "object": "model", "created": 1, "owned_by": "tests"} for name in MODELS]
        self.answer(200, {"object": "list", "data": data})

    def do_POST(self) -> None:
        """A chat."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.owner.seen.append((self.headers.get("authorization", ""), body))
        if self.path != "/v1/chat/completions":
            self.answer(404, {"error": {"message": "no such page", "type": "invalid_request_error"}})
        elif body.get("stream"):
            try:
                self.stream(self.owner.writes(events(body, self.owner.piece_chars)))
            except OSError:
                self.owner.cut.append(body)
        else:
            self.answer(200, whole(body["model"]))

    def answer(self, status: int, value: dict) -> None:
        """Everything at once."""
        payload = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def stream(self, writes: list[bytes]) -> None:
        """One write after the other."""
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        pieces, pause = [*writes, b""], self.owner.pause
        for at, piece in enumerate(pieces):
            if pause and at == len(pieces) // 2:
                pause.wait(PAUSE_MAX_S)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()


def whole(model: str) -> dict:
    """An answer at once."""
    message = {"role": "assistant", "content": TEXT}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
    return head | {"choices": [choice], "usage": USAGE}


def events(request: dict, piece_chars: int) -> list[str]:
    """The same in pieces, with a closing event of usage if the request asks for it."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": request["model"]}
    usage_asked = (request.get("stream_options") or {}).get("include_usage", False)

    def event(members: dict) -> str:
        return f"data: {json.dumps(head | members)}\n\n"

    def part(delta: dict, finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return event({"choices": [choice]} | ({"usage": None} if usage_asked else {}))

    pieces = [TEXT[at : at + piece_chars] for at in range(0, len(TEXT), piece_chars)]
    text = [part({"content": piece}) for piece in pieces]
    usage = [event({"choices": [], "usage": USAGE})] if usage_asked else []
    return [part({"role": "assistant", "content": ""}), *text, part({}, "stop"), *usage, "data: [DONE]\n\n"]
