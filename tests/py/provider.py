"""An OpenAI-like provider that gives a secret away in every answer, three characters an event."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Of the form of an access key that belongs to nobody, put together here, so that no scanner of
# sources takes it for a leak.
SECRET = "".join(["AKIA", "Q3ZV", "7LDM", "TXK2", "WHN5"])
TEXT = f"The deploy key is {SECRET}, keep it."
MODELS = ["gpt-5", "gpt-5-mini", "gpt-5-nano"]
PIECE_CHARS = 3


class Provider:
    """Listens on a free port and remembers every `Authorization` and body that it saw."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict]] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing: what was seen is in `seen`."""

            def do_GET(self) -> None:
                provider.seen.append((self.headers.get("authorization", ""), {}))
                data = [{"id": name, "object": "model", "created": 1, "owned_by": "tests"} for name in MODELS]
                self.answer("application/json", json.dumps({"object": "list", "data": data}))

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.seen.append((self.headers.get("authorization", ""), body))
                if body.get("stream"):
                    self.answer("text/event-stream", "".join(events(body["model"])))
                else:
                    self.answer("application/json", json.dumps(whole(body["model"])))

            def answer(self, kind: str, text: str) -> None:
                payload = text.encode()
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stops listening."""
        self.server.shutdown()
        self.server.server_close()


def whole(model: str) -> dict:
    """An answer at once."""
    message = {"role": "assistant", "content": TEXT}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    usage = {"prompt_tokens": 9, "completion_tokens": 16, "total_tokens": 25}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
    return head | {"choices": [choice], "usage": usage}


def events(model: str) -> list[str]:
    """The same in pieces."""

    def event(delta: dict, finish: str | None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}
        return f"data: {json.dumps(head | {'choices': [choice]})}\n\n"

    pieces = [TEXT[at : at + PIECE_CHARS] for at in range(0, len(TEXT), PIECE_CHARS)]
    first = event({"role": "assistant", "content": ""}, None)
    middle = [event({"content": piece}, None) for piece in pieces]
    return [first, *middle, event({}, "stop"), "data: [DONE]\n\n"]
