"""Answer a registry's challenge: basic authentication or a bearer token (distribution-spec, token authentication).

A token is asked for only over https (or where the registry itself is plain http on purpose), and only at a host of
the same domain as the registry, unless the user allows another: a registry must not send our password elsewhere.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from provisioner.errors import AuthError, NetworkError
from provisioner.http import Client, Reply, UnauthorizedError, shown
from provisioner.oci.auth.credentials import Credentials

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z]+)(?=[\s,]|$)")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a server offers: ``scheme`` in lower case and its parameters."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """Read WWW-Authenticate (RFC 9110, 11.6.1), which may list several schemes."""
    return list(_challenges(header))


def authorize(challenge_header: str, scope: str, registry_url: str, credentials: Credentials | None, client: Client,
              *, trusted: frozenset[str] = frozenset()) -> str:
    """Return the Authorization header that answers a challenge from ``registry_url``.

    ``scope`` is what is wanted when the challenge names none; ``trusted`` lists more hosts that may issue tokens.
    Raises AuthError.
    """
    offers = {challenge.scheme: challenge for challenge in parse_challenges(challenge_header)}
    if bearer := offers.get("bearer"):
        return "Bearer " + _token(bearer, scope, registry_url, credentials, client, trusted)
    if "basic" in offers:
        if credentials is None or not credentials.user:
            raise AuthError(f"{urlsplit(registry_url).netloc} wants a user and a password, and none are known")
        return credentials.basic
    raise AuthError(f"{urlsplit(registry_url).netloc} asks for an unknown way to log in: {challenge_header!r}",
                    hint="known are Basic and Bearer")


def _challenges(header: str) -> Iterator[Challenge]:
    position = 0
    while match := _SCHEME.match(header, position):
        position, parameters = match.end(), {}
        while (pair := _PARAMETER.match(header, position)) is not None:
            quoted = pair[2]
            parameters[pair[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else pair[3]
            position = pair.end()
        yield Challenge(match[1].lower(), parameters)


def _token(bearer: Challenge, scope: str, registry_url: str, credentials: Credentials | None, client: Client,
           trusted: frozenset[str]) -> str:
    realm = bearer.parameters.get("realm", "")
    _check_realm(realm, registry_url, trusted)
    query = {"service": bearer.parameters.get("service", ""), "scope": bearer.parameters.get("scope") or scope}
    query = {key: value for key, value in query.items() if value}
    try:
        answer = _ask(realm, query, credentials, client)
    except UnauthorizedError as error:
        who = f"the user {credentials.user!r} of {credentials.source}" if credentials else "a nameless user"
        raise AuthError(f"{shown(realm)} gives {who} no token: {error.message}") from error
    try:
        raw = json.loads(answer.body)
        token = raw.get("token") or raw.get("access_token")
    except (ValueError, AttributeError) as error:
        raise NetworkError(f"{shown(realm)} answered what is no token") from error
    if not isinstance(token, str) or not token.isprintable():
        raise NetworkError(f"{shown(realm)} answered without a token")
    return token


def _ask(realm: str, query: dict[str, str], credentials: Credentials | None, client: Client) -> Reply:
    if credentials and credentials.token:
        form = {"grant_type": "refresh_token", "client_id": "provisioner", **query,
                "refresh_token": credentials.token}
        return client.get(realm, form=form, limit=_LIMIT)
    url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}"
    return client.get(url, authorization=credentials.basic if credentials else "", limit=_LIMIT)


def _check_realm(realm: str, registry_url: str, trusted: frozenset[str]) -> None:
    there, here = urlsplit(realm), urlsplit(registry_url)
    host = (there.hostname or "").lower()
    if host in trusted or there.netloc.lower() in trusted:
        return
    if there.scheme != "https" and not (there.scheme == here.scheme == "http"):
        raise AuthError(f"{here.netloc} wants the password sent to {shown(realm) or 'nowhere'}, which is not https")
    if _domain(host) != _domain((here.hostname or "").lower()):
        raise AuthError(f"{here.netloc} wants the password sent to {host}, a host of another domain",
                        hint=f"if that is right, add {host} to `tokens` in registries.yml")


def _domain(host: str) -> str:
    """Return the part of a host name under which one owner is assumed; an address stands for itself."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.split(".")
        # «example.co.uk»: a short label before a country's is nobody's own domain.
        depth = 3 if len(labels) > 2 and len(labels[-1]) == 2 and len(labels[-2]) <= 3 else 2
        return ".".join(labels[-depth:])
    return host
