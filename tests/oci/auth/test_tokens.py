"""Challenges and what may answer them."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import AuthError, NetworkError
from provisioner.http import Client
from provisioner.oci.auth.credentials import Credentials
from provisioner.oci.auth.tokens import authorize, parse_challenges
from tests.fakes.faults import Answer, serving

ME = Credentials("me", "s3cret-canary", source="a file")


@pytest.fixture
def client() -> Iterator[Client]:
    with Client(retries=0) as made:
        yield made


@pytest.mark.parametrize(("header", "expected"), [
    ('Bearer realm="https://a/t",service="s",scope="repository:x:pull"',
     [("bearer", {"realm": "https://a/t", "service": "s", "scope": "repository:x:pull"})]),
    ('Basic realm="a \\"b\\", c"', [("basic", {"realm": 'a "b", c'})]),
    ("Basic realm=plain", [("basic", {"realm": "plain"})]),
    ('Negotiate, Bearer realm="r", service=s,Basic realm="x"',
     [("negotiate", {}), ("bearer", {"realm": "r", "service": "s"}), ("basic", {"realm": "x"})]),
    ("", []),
])
def test_challenges_are_read(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(c.scheme, c.parameters) for c in parse_challenges(header)] == expected


@given(st.text(alphabet='Bearer ="\\,abc \t', max_size=60))
def test_any_header_is_survived(header: str) -> None:
    parse_challenges(header)


def test_basic(client: Client) -> None:
    assert authorize('Basic realm="x"', "", "https://reg.example.com", ME, client) == ME.basic
    for nobody in (None, Credentials("", token="t")):
        with pytest.raises(AuthError, match=r"reg\.example\.com wants a user"):
            authorize('Basic realm="x"', "", "https://reg.example.com", nobody, client)


def test_an_unknown_scheme(client: Client) -> None:
    with pytest.raises(AuthError, match="unknown way"):
        authorize("Digest x=y", "", "https://reg.example.com", ME, client)


def test_a_bearer_token_is_bought(client: Client) -> None:
    with serving(lambda _: Answer(200, b'{"access_token":"abc"}')) as server:
        header = f'Bearer realm="{server.url}/token?x=1",service="reg"'
        assert authorize(header, "repository:app:pull", server.url, ME, client) == "Bearer abc"
        assert authorize(header, "", server.url, None, client) == "Bearer abc"
        assert authorize(header, "s", server.url, Credentials("", token="r"), client) == "Bearer abc"
    first, second, third = server.requests
    assert parse_qs(urlsplit(first.path).query) == {"x": ["1"], "service": ["reg"], "scope": ["repository:app:pull"]}
    assert first.headers["authorization"] == ME.basic
    assert "authorization" not in second.headers
    assert (third.method, parse_qs(third.body.decode())["refresh_token"]) == ("POST", ["r"])


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token":1}', b'{"token":"a\\r\\nX: y"}'])
def test_answers_that_are_no_token(client: Client, body: bytes) -> None:
    with serving(lambda _: Answer(200, body)) as server, pytest.raises(NetworkError):
        authorize(f'Bearer realm="{server.url}"', "", server.url, ME, client)


def test_a_refused_user_is_named_without_the_password(client: Client) -> None:
    with serving(lambda _: Answer(401, b"no")) as server, pytest.raises(AuthError, match="'me' of a file") as caught:
        authorize(f'Bearer realm="{server.url}"', "", server.url, ME, client)
    assert ME.password not in str(caught.value)


@pytest.mark.parametrize(("registry", "realm", "why"), [
    ("https://reg.example.com", "http://reg.example.com/token", "not https"),
    ("https://reg.example.com", "", "not https"),
    ("https://reg.example.com", "file:///etc/passwd", "not https"),
    ("http://127.0.0.1:5000", "ftp://127.0.0.1/", "not https"),
    ("https://reg.example.com", "https://evil.example.net/token", "another domain"),
    ("https://reg.example.com", "https://example.com.evil.net/token", "another domain"),
    ("https://reg.shop.co.uk", "https://evil.co.uk/token", "another domain"),
    ("https://10.1.2.3", "https://10.9.2.3/token", "another domain"),
    ("http://127.0.0.1:5000", "http://169.254.169.254/token", "another domain"),
])
def test_where_a_password_must_not_go(client: Client, registry: str, realm: str, why: str) -> None:
    with pytest.raises(AuthError, match=why):
        authorize(f'Bearer realm="{realm}"', "", registry, ME, client)


@pytest.mark.parametrize(("registry", "realm"), [("https://registry-1.docker.io", "https://auth.docker.io/token"),
                                                 ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
                                                 ("https://reg.shop.co.uk", "https://login.shop.co.uk/t")])
def test_where_it_may_go(registry: str, realm: str) -> None:
    class Asked(Client):
        def get(self, url: str, **_: object) -> object:  # type: ignore[override]  # a fake that only notes
            raise NetworkError(url)

    with Asked() as client, pytest.raises(NetworkError, match=realm):
        authorize(f'Bearer realm="{realm}"', "", registry, ME, client)


def test_the_user_may_trust_another_issuer(client: Client) -> None:
    with serving(lambda _: Answer(200, b'{"token":"abc"}')) as server:
        header = f'Bearer realm="{server.url}"'
        assert authorize(header, "", "https://reg.example.com", ME, client,
                         trusted=frozenset({server.host})) == "Bearer abc"
