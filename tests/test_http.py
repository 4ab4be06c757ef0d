"""The HTTP client against a server that misbehaves on purpose."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from provisioner.errors import AuthError, NetworkError, NotFoundError, ProvisionerError
from provisioner.http import Client, StatusError, UnauthorizedError, is_loopback, shown
from provisioner.model.event import Event
from tests.fakes.faults import Answer, Request, ranged, serving

BODY = bytes(range(256)) * 2000


class Watched:
    """A client whose pauses are noted rather than slept."""

    def __init__(self, **options: object) -> None:
        self.pauses: list[float] = []
        self.events: list[Event] = []
        self.client = Client(wait=self.pauses.append, sink=self.events.append, **options)  # type: ignore[arg-type]


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    made.client.close()


def turns(*answers: Answer) -> list[Answer]:
    return list(answers)




def test_a_small_body_comes_whole(watched: Watched) -> None:
    with serving(lambda _: Answer(200, b"hello", {"X-Kind": "greeting"})) as server:
        reply = watched.client.get(f"{server.url}/a")
    assert (reply.status, reply.body, reply.headers["x-kind"]) == (200, b"hello", "greeting")
    assert server.requests[0].headers["accept-encoding"] == "identity"
    assert server.requests[0].headers["user-agent"].startswith("provisioner/")


def test_more_than_the_limit_is_refused(watched: Watched) -> None:
    with serving(lambda _: Answer(200, BODY)) as server, pytest.raises(NetworkError, match="than the 1000 bytes"):
        watched.client.get(server.url, limit=1000)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing_troubles_are_tried_again(watched: Watched, status: int) -> None:
    answers = turns(Answer(status), Answer(status), Answer(200, b"at last"))
    with serving(lambda _: answers.pop(0)) as server:
        assert watched.client.get(server.url).body == b"at last"
    assert len(watched.pauses) == 2
    assert 0.3 < watched.pauses[0] < watched.pauses[1] < 2
    assert [event.stage for event in watched.events] == ["retry", "retry"]


def test_retry_after_is_honoured_in_both_forms(watched: Watched) -> None:
    answers = turns(Answer(429, headers={"Retry-After": "7"}),
                    Answer(503, headers={"Retry-After": formatdate(time.time() + 60, usegmt=True)}),
                    Answer(503, headers={"Retry-After": "soon"}), Answer(200))
    with serving(lambda _: answers.pop(0)) as server:
        watched.client.get(server.url)
    assert watched.pauses[0] == 7
    assert 50 < watched.pauses[1] <= 60
    assert watched.pauses[2] < 5


def test_a_retry_after_of_an_hour_is_an_error_that_says_so(watched: Watched) -> None:
    with serving(lambda _: Answer(429, headers={"Retry-After": "3600"})) as server, \
            pytest.raises(NetworkError, match="come back in 3600 s"):
        watched.client.get(server.url)
    assert watched.pauses == []


def test_patience_ends(watched: Watched) -> None:
    answer = Answer(503, b"come later")
    with serving(lambda _: answer) as server, pytest.raises(NetworkError, match=r"503: come later \(tried 6 times\)"):
        watched.client.get(server.url)
    assert len(watched.pauses) == 5


def test_lasting_troubles_are_not_tried_again(watched: Watched) -> None:
    with serving(lambda r: Answer(int(r.path[1:]), b"because")) as server:
        with pytest.raises(NotFoundError, match="because"):
            watched.client.get(f"{server.url}/404")
        with pytest.raises(UnauthorizedError, match="because"):
            watched.client.get(f"{server.url}/403")
        with pytest.raises(StatusError, match="400: because") as caught:
            watched.client.get(f"{server.url}/400")
    assert caught.value.status == 400
    assert watched.pauses == []


def test_nobody_listens(watched: Watched) -> None:
    with serving(lambda _: Answer()) as server:
        url = server.url
    with pytest.raises(NetworkError, match="refused") as caught:
        watched.client.get(url)
    assert caught.value.hint
    assert len(watched.pauses) == 2, "a refused connection rarely heals"


@pytest.mark.parametrize("polite", [True, False])
def test_a_download_resumes_at_every_decile(watched: Watched, polite: bool) -> None:
    cuts = [len(BODY) // 10] * 9

    def script(request: Request) -> Answer:
        return ranged(BODY, request, cut=cuts.pop(), polite=polite) if cuts else ranged(BODY, request)

    got = bytearray()
    with serving(script) as server:
        assert watched.client.download(f"{server.url}/blob", got.extend, size=len(BODY)) == len(BODY)
    assert bytes(got) == BODY
    starts = [int(r.headers.get("range", "bytes=0-")[6:-1]) for r in server.requests]
    assert starts == sorted(starts)
    sent = sum(min(len(BODY) // 10, len(BODY) - s) for s in starts[:-1]) + len(BODY) - starts[-1]
    assert sent <= len(BODY) * 1.1, "at most a tenth comes twice"


def test_a_download_without_known_size_notices_the_end(watched: Watched) -> None:
    answers = turns(Answer(200, BODY, cut=1000), Answer(206, BODY[1000:], {
        "Content-Range": f"bytes 1000-{len(BODY) - 1}/{len(BODY)}"}))
    got = bytearray()
    with serving(lambda _: answers.pop(0)) as server:
        watched.client.download(server.url, got.extend)
    assert bytes(got) == BODY


def test_a_server_without_ranges_starts_over_and_we_skip(watched: Watched) -> None:
    answers = turns(Answer(200, BODY, cut=100_000), Answer(200, BODY))
    got = bytearray()
    with serving(lambda _: answers.pop(0)) as server:
        watched.client.download(server.url, got.extend, size=len(BODY))
    assert bytes(got) == BODY


def test_a_wrong_range_is_refused(watched: Watched) -> None:
    answer = Answer(206, BODY[5:], {"Content-Range": f"bytes 5-{len(BODY) - 1}/{len(BODY)}"})
    with serving(lambda _: answer) as server, pytest.raises(NetworkError, match="asked for bytes from 1000"):
        watched.client.download(server.url, lambda _: None, offset=1000, size=len(BODY))


def test_an_empty_or_finished_download_asks_nothing(watched: Watched) -> None:
    with serving(lambda _: Answer(500)) as server:
        assert watched.client.download(server.url, lambda _: None, size=0) == 0
        assert watched.client.download(server.url, lambda _: None, offset=9, size=9) == 9
    assert server.requests == []


def test_a_download_that_never_moves_ends(watched: Watched) -> None:
    with serving(lambda r: ranged(BODY, r, cut=1)) as server, pytest.raises(NetworkError, match="tried 6 times"):
        watched.client.download(server.url, lambda _: None, size=len(BODY))


def test_a_trickle_counts_as_broken() -> None:
    now = iter(range(0, 100_000, 40))
    watched = Watched(clock=lambda: float(next(now)), retries=1)
    with watched.client, serving(lambda _: Answer(200, bytes(100), {"Content-Length": "5000"}, cut=100)) as server, \
            pytest.raises(NetworkError, match="less than 256 bytes per second"):
        watched.client.download(server.url, lambda _: None, size=5000)


def test_what_the_writer_raises_comes_through(watched: Watched) -> None:
    def full(_: bytes) -> None:
        raise ProvisionerError("full")

    with serving(lambda _: Answer(200, BODY)) as server, pytest.raises(ProvisionerError, match="full"):
        watched.client.download(server.url, full, size=len(BODY))


def test_authorization_stays_with_its_origin(watched: Watched) -> None:
    with serving(lambda _: Answer(200, b"blob")) as other:
        def script(request: Request) -> Answer:
            if request.path == "/away":
                return Answer(307, headers={"Location": f"{other.url}/cdn", "Set-Cookie": "id=1"})
            if request.path == "/near":
                return Answer(302, headers={"Location": "/here"})
            return Answer(200, b"here")

        with serving(script) as server:
            assert watched.client.get(f"{server.url}/away", authorization="Bearer secret").body == b"blob"
            assert watched.client.get(f"{server.url}/near", authorization="Bearer secret").body == b"here"
    assert "authorization" not in other.requests[0].headers
    assert [r.headers.get("authorization") for r in server.requests] == ["Bearer secret"] * 3
    assert not any("cookie" in r.headers for r in server.requests + other.requests)


def test_netrc_is_not_used(watched: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    with serving(lambda _: Answer()) as server:
        watched.client.get(server.url)
    assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", ""])
def test_redirects_lead_to_http_only(watched: Watched, target: str) -> None:
    with serving(lambda _: Answer(302, headers={"Location": target})) as server, \
            pytest.raises(NetworkError, match="no http URL"):
        watched.client.get(server.url)


def test_a_loop_of_redirects_ends(watched: Watched) -> None:
    with serving(lambda r: Answer(302, headers={"Location": r.path + "x"})) as server, \
            pytest.raises(NetworkError, match="more than 5 times"):
        watched.client.get(f"{server.url}/")


def test_an_encoding_nobody_asked_for_is_refused(watched: Watched) -> None:
    with serving(lambda _: Answer(200, b"x", {"Content-Encoding": "gzip"})) as server, \
            pytest.raises(NetworkError, match="sends gzip"):
        watched.client.get(server.url)


@pytest.mark.parametrize("url", ["file:///etc/shadow", "unix:///run/docker.sock", "http://", "nonsense",
                                 "http://host:99999/"])
def test_what_is_no_web_address_is_refused(watched: Watched, url: str) -> None:
    with pytest.raises(NetworkError):
        watched.client.get(url)
    assert watched.pauses == []


def test_a_form_is_posted(watched: Watched) -> None:
    with serving(lambda _: Answer(200, b"{}")) as server:
        watched.client.get(server.url, form={"grant_type": "refresh_token"})
    assert (server.requests[0].method, server.requests[0].body) == ("POST", b"grant_type=refresh_token")


def test_secrets_in_urls_are_not_shown() -> None:
    assert shown("https://me:pw@host:8/p?sig=abc#f") == "https://host:8/p"


def test_error_pages_are_not_repeated(watched: Watched) -> None:
    with serving(lambda _: Answer(401, b"<html>\x1b[31mno</html>", {"WWW-Authenticate": "Basic"})) as server, \
            pytest.raises(AuthError) as caught:
        watched.client.get(server.url)
    assert "html" not in str(caught.value)


def test_control_characters_of_a_server_do_not_reach_the_terminal(watched: Watched) -> None:
    with serving(lambda _: Answer(400, b"bad \x1b]52;c;AAAA\x07 thing")) as server, \
            pytest.raises(StatusError) as caught:
        watched.client.get(server.url)
    assert str(caught.value).isprintable()


def test_a_stream_is_read_piece_by_piece(watched: Watched) -> None:
    answers = turns(Answer(503), Answer(200, BODY))
    with serving(lambda _: answers.pop(0)) as server, watched.client.stream(server.url) as answer:
        assert b"".join(answer.chunks()) == BODY


def test_authorities_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    with pytest.raises(ProvisionerError, match=r"SSL_CERT_FILE names /nowhere\.pem"):
        Client()


@pytest.mark.parametrize(("url", "loopback"), [("http://localhost:1/", True), ("http://127.9.9.9", True),
                                               ("http://[::1]:2/", True), ("http://x.localhost", True),
                                               ("http://localhost.example.com", False), ("http://10.0.0.1", False)])
def test_loopback(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback
