"""The one HTTP client: bounded, retried, resumable, and careful with credentials.

* Connection failures, 408, 425, 429 and 5xx answers are tried again with growing pauses; ``Retry-After`` is honoured.
* A download that breaks off goes on where it stopped (RFC 9110, Range); one that only trickles counts as broken.
* Redirects are followed by hand: ``Authorization`` goes only to the origin it was meant for, never from https to
  http, and only http and https URLs are followed. Cookies and ``~/.netrc`` are not used.
* Proxies (``HTTPS_PROXY``, ``NO_PROXY``) and private certificate authorities (``SSL_CERT_FILE``,
  ``REQUESTS_CA_BUNDLE``) are taken from the environment; loopback addresses never go through a proxy.

    NetworkError
    └── StatusError            the server answered with an error (``status``)
    AuthError
    └── UnauthorizedError      401 or 403; ``challenge`` is the WWW-Authenticate header
    NotFoundError              404 or 410
"""

from __future__ import annotations

import ipaddress
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from provisioner import __version__
from provisioner.errors import AuthError, NetworkError, NotFoundError, ProvisionerError
from provisioner.model.event import Event, Sink, discard

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_LONGEST_PAUSE = 120.0  # seconds that a server's Retry-After may ask for
_CHUNK = 1 << 16
_SLOWEST = 256  # bytes per second below which a transfer counts as stalled
_WINDOW = 30.0  # seconds over which that is measured
_SYSTEM_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
T = TypeVar("T")


class StatusError(NetworkError):
    """The server answered with an error status."""

    def __init__(self, url: str, status: int, words: str = "", *, hint: str = "") -> None:
        super().__init__(f"{shown(url)} answered {status}{': ' + words if words else ''}", hint=hint)
        self.status = status


class UnauthorizedError(AuthError):
    """The server wants other credentials; ``challenge`` says which, ``url`` who asked."""

    def __init__(self, url: str, status: int, challenge: str, words: str = "") -> None:
        super().__init__(f"{shown(url)} refuses access ({status}{': ' + words if words else ''})")
        self.url, self.status, self.challenge = url, status, challenge


class TlsError(NetworkError):
    """The TLS handshake failed: an unknown authority, a wrong name, or no TLS at all."""


class _BrokenError(NetworkError):
    """A failure that another attempt may cure. ``hopeless`` ones get fewer attempts."""

    def __init__(self, message: str, *, hint: str = "", pause: float | None = None, hopeless: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.pause, self.hopeless = pause, hopeless


@dataclass(frozen=True, slots=True)
class Response:
    """An open answer; ``headers`` are looked up without regard to case."""

    url: str
    status: int
    headers: Mapping[str, str]
    _answer: requests.Response = field(repr=False)
    clock: Callable[[], float] = time.monotonic

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give up what was not read."""
        self._answer.close()

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives; raise NetworkError when it breaks off or trickles."""
        start, count = self.clock(), 0
        try:
            while chunk := self._answer.raw.read1(_CHUNK, decode_content=False):
                yield chunk
                count += len(chunk)
                if (passed := self.clock() - start) > _WINDOW:
                    if count < _SLOWEST * passed:
                        raise _BrokenError(f"{shown(self.url)} sends less than {_SLOWEST} bytes per second")
                    start, count = self.clock(), 0
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _BrokenError(f"the transfer from {shown(self.url)} broke off: {_reason(error)}") from error

    def read(self, limit: int) -> bytes:
        """Return the whole body; raise NetworkError when it is larger than ``limit`` bytes."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                raise NetworkError(f"{shown(self.url)} sends more than the {limit} bytes accepted here")
        return bytes(body)


@dataclass(frozen=True, slots=True)
class Reply:
    """A small answer, read to its end."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


class Client:
    """An HTTP client. ``retries`` counts further attempts; ``wait`` sleeps; ``sink`` hears of retries.

    May be used by several threads.
    """

    def __init__(self, *, retries: int = 5, timeout: tuple[float, float] = (10.0, 60.0), authorities: str = "",
                 sink: Sink = discard, wait: Callable[[float], None] = time.sleep,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._retries, self._timeout, self._sink, self._wait, self._clock = retries, timeout, sink, wait, clock
        self._authorities = authorities or _authorities()
        self._local = threading.local()
        self._sessions: list[requests.Session] = []

    def close(self) -> None:
        """Close every connection."""
        for session in self._sessions:
            session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def get(self, url: str, *, headers: Mapping[str, str] | None = None, authorization: str = "",
            limit: int = 4 << 20, form: Mapping[str, str] | None = None, method: str = "") -> Reply:
        """Fetch something small, up to ``limit`` bytes; with ``form`` the method is POST.

        Raises NotFoundError, UnauthorizedError, StatusError, NetworkError.
        """
        def once() -> Reply:
            with self._answer(url, headers, authorization, form, method) as answer:
                return Reply(answer.url, answer.status, answer.headers, answer.read(limit))

        return self._persist(once)

    def stream(self, url: str, *, headers: Mapping[str, str] | None = None, authorization: str = "",
               method: str = "") -> Response:
        """Open an answer (a context manager) for reading piece by piece; only its beginning is tried again."""
        return self._persist(lambda: self._answer(url, headers, authorization, method=method))

    def download(self, url: str, write: Callable[[bytes], object], *, offset: int = 0, size: int | None = None,
                 headers: Mapping[str, str] | None = None, authorization: str = "") -> int:
        """Pass a body from byte ``offset`` on to ``write``, resuming as often as it takes; return its end.

        ``size`` is the whole length when it is known. The caller verifies a digest: a server that changes the
        content between two attempts is not noticed here. Raises as ``get`` does, and what ``write`` raises.
        """
        position, mark, failures = offset, offset, 0
        step = _CHUNK if size is None else min(_CHUNK, max(1, size // 20))  # less is no progress
        while size is None or position < size:
            asked = dict(headers or {}) | ({"Range": f"bytes={position}-"} if position else {})
            try:
                with self._answer(url, asked, authorization) as answer:
                    for chunk in _from(answer, position):
                        write(chunk)
                        position += len(chunk)
                _check_end(url, position, size)
                return position
            except _BrokenError as error:
                failures = 1 if position - mark >= step else failures + 1
                mark = position
                self._pause(error, failures)
        return position

    def _persist(self, attempt: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return attempt()
            except _BrokenError as error:
                failures += 1
                self._pause(error, failures)

    def _pause(self, error: _BrokenError, failures: int) -> None:
        allowed = min(self._retries, 2) if error.hopeless else self._retries
        if failures > allowed:
            raise NetworkError(f"{error.message} (tried {failures} times)", hint=error.hint) from error
        pause = min(30.0, 0.5 * 2 ** (failures - 1)) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter, no secret
        if error.pause is not None:
            if error.pause > _LONGEST_PAUSE:
                raise NetworkError(f"{error.message}; it asks to come back in {error.pause:.0f} s") from error
            pause = max(pause, error.pause)
        self._sink(Event("http", "retry", detail=f"{error.message}; next attempt in {pause:.1f} s", time=time.time(),
                         monotonic=time.monotonic(), data={"attempt": failures, "pause": pause}))
        self._wait(pause)

    def _answer(self, url: str, headers: Mapping[str, str] | None, authorization: str = "",
                form: Mapping[str, str] | None = None, method: str = "") -> Response:
        origin, here = _origin(url), url
        for _ in range(_MOST_REDIRECTS + 1):
            fields = {"User-Agent": f"provisioner/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
            if authorization and _origin(here) == origin:
                fields["Authorization"] = authorization
            answer = self._send(here, fields, form, method)
            try:
                if answer.status_code not in _REDIRECTS:
                    return _checked(answer, here, self._clock)
                here = _target(here, answer.headers.get("Location", ""))
            except BaseException:
                answer.close()
                raise
            answer.close()
        raise NetworkError(f"{shown(url)} redirects more than {_MOST_REDIRECTS} times")

    def _send(self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None,
              method: str) -> requests.Response:
        session = self._session()
        try:
            proxies = {} if is_loopback(url) else requests.utils.get_environ_proxies(url)
            request = requests.Request(method or ("POST" if form else "GET"), url, dict(headers), data=form)
            return session.send(session.prepare_request(request), stream=True, timeout=self._timeout,
                                allow_redirects=False, proxies=proxies, verify=self._authorities or True)
        except requests.exceptions.SSLError as error:
            raise TlsError(f"no secure connection to {shown(url)}: {_reason(error)}",
                           hint="for a private authority set SSL_CERT_FILE to its certificates") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema,
                requests.exceptions.MissingSchema, UnicodeError) as error:
            raise NetworkError(f"{shown(url)} is no URL that can be fetched: {error}") from error
        except requests.exceptions.RequestException as error:
            reason = _reason(error)
            hopeless = any(word in reason for word in ("resolve", "refused", "unreachable"))
            raise _BrokenError(f"cannot reach {shown(url)}: {reason}", hopeless=hopeless,
                               hint="is the name right and the network up?" if hopeless else "") from error

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False  # no ~/.netrc; proxies and authorities are chosen by hand
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            self._local.session = session
            self._sessions.append(session)
        return session


def shown(url: str) -> str:
    """Return a URL as it may be shown: without user, password and query, which can hold secrets."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine by name or address."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _checked(answer: requests.Response, url: str, clock: Callable[[], float]) -> Response:
    status, headers = answer.status_code, answer.headers
    if status < 400:
        encoding = headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise NetworkError(f"{shown(url)} sends {encoding} though it was asked not to encode")
        return Response(url, status, headers, answer, clock)
    words = _words(answer)
    if status in (401, 403):
        raise UnauthorizedError(url, status, headers.get("WWW-Authenticate", ""), words)
    if status in (404, 410):
        raise NotFoundError(f"{shown(url)} is not there ({status}{': ' + words if words else ''})")
    if status in TRANSIENT:
        raise _BrokenError(f"{shown(url)} answered {status}{': ' + words if words else ''}",
                           pause=_retry_after(headers.get("Retry-After", "")))
    raise StatusError(url, status, words)


def _check_end(url: str, position: int, size: int | None) -> None:
    if size is not None and position < size:
        raise _BrokenError(f"{shown(url)} ended after {position} of {size} bytes")


def _from(answer: Response, position: int) -> Iterator[bytes]:
    """Yield the body from ``position`` on, whether or not the server honoured the Range."""
    skip = position
    if answer.status == 206:
        start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if start != str(position):
            raise NetworkError(f"{shown(answer.url)} was asked for bytes from {position} and sends "
                               f"{answer.headers.get('Content-Range', 'no range')}")
        skip = 0
    for chunk in answer.chunks():
        if skip >= len(chunk):
            skip -= len(chunk)
            continue
        yield chunk[skip:]
        skip = 0


def _target(here: str, location: str) -> str:
    there = urljoin(here, location)
    if not location or urlsplit(there).scheme not in ("http", "https"):
        raise NetworkError(f"{shown(here)} redirects to {location!r}, which is no http URL")
    if urlsplit(here).scheme == "https" and urlsplit(there).scheme == "http":
        raise NetworkError(f"{shown(here)} redirects from https to {shown(there)}", hint="that would give up the "
                           "protection of TLS; fetch from an https address")
    return there


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError as error:
        raise NetworkError(f"{shown(url)} has no valid port") from error
    return parts.scheme, (parts.hostname or "").lower(), port or (443 if parts.scheme == "https" else 80)


def _retry_after(text: str) -> float | None:
    """Read Retry-After: seconds or a date (RFC 9110, 10.2.3)."""
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def _words(answer: requests.Response) -> str:
    """Return what an error answer says, if it is short text; never more than a line."""
    try:
        body = answer.raw.read(2048, decode_content=False) or b""
    except (urllib3.exceptions.HTTPError, OSError):
        return ""
    text = " ".join(body.decode(errors="replace").split())
    return "" if text.startswith("<") else "".join(c for c in text if c.isprintable())[:200]


def _reason(error: BaseException) -> str:
    """Dig the operating system's words out of a chain of wrapped errors."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        inner = getattr(current, "reason", None)
        current = inner if isinstance(inner, BaseException) else current.__cause__ or current.__context__ or next(
            (a for a in current.args if isinstance(a, BaseException)), None)
    names = [e for e in seen if isinstance(e, OSError) and e.strerror]
    if any(isinstance(e, urllib3.exceptions.NameResolutionError) for e in seen):
        return "the name cannot be resolved"
    return str(names[-1].strerror).lower() if names else str(seen[-1]) or type(seen[-1]).__name__


def _authorities() -> str:
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        if chosen := os.environ.get(name):
            if not Path(chosen).exists():
                raise ProvisionerError(f"{name} names {chosen}, which does not exist")
            return chosen
    return str(_SYSTEM_AUTHORITIES) if _SYSTEM_AUTHORITIES.exists() else ""
