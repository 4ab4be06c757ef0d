"""Pull from a registry: the distribution API v2, read side (distribution-spec 1.1).

What a registry says is believed only as far as it can be checked: a manifest's Content-Type must be what the
document says it is, its digest what was asked for (or what the registry itself claims), and blobs go to the store
through a writer that verifies them. ``urls`` of layers are not followed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from provisioner.errors import AuthError, DigestError, NetworkError, NotFoundError
from provisioner.http import Client, Reply, TlsError, UnauthorizedError
from provisioner.model.oci import Descriptor
from provisioner.oci import manifest as documents
from provisioner.oci.auth import tokens
from provisioner.oci.auth.credentials import Finder
from provisioner.oci.blobs import BlobWriter
from provisioner.oci.reference import Reference, is_digest
from provisioner.oci.settings import Settings

_ACCEPT = ", ".join(documents.INDEXES + documents.MANIFESTS)
_MOST_LOGINS = 3  # without a byte of progress between them
T = TypeVar("T")


class Registry:
    """One repository as one endpoint (the registry itself or a mirror) serves it.

    ``endpoint`` is a base URL as ``Settings.endpoints`` gives it.
    """

    def __init__(self, reference: Reference, endpoint: str, client: Client, settings: Settings,
                 finder: Finder) -> None:
        self._reference, self._client, self._settings, self._finder = reference, client, settings, finder
        self._base = self._probe(endpoint) if endpoint.startswith("auto://") else endpoint
        self._authorization = ""

    @property
    def host(self) -> str:
        """Who is asked, with port."""
        return urlsplit(self._base).netloc

    def resolve(self) -> tuple[Descriptor, bytes]:
        """Return what the reference stands for: a manifest's or index's descriptor and bytes.

        Raises NotFoundError, AuthError, NetworkError, DigestError, ManifestError.
        """
        version = self._reference.version
        answer = self._manifest(version)
        claimed = self._reference.digest or answer.headers.get("Docker-Content-Digest", "")
        return self._checked(answer, claimed if is_digest(claimed) else "")

    def fetch(self, descriptor: Descriptor, out: BlobWriter) -> None:
        """Bring a manifest, index or blob into a store's writer, going on at ``out.offset``."""
        if descriptor.media_type in documents.INDEXES + documents.MANIFESTS:
            found, content = self._checked(self._manifest(descriptor.digest), descriptor.digest)
            if found.media_type != descriptor.media_type:
                raise documents.ManifestError(f"{descriptor.digest} was announced as {descriptor.media_type} and "
                                              f"comes as {found.media_type}")
            out.restart()
            out.write(content)
            return
        url = f"{self._base}/v2/{self._reference.repository}/blobs/{descriptor.digest}"
        self._persist(lambda authorization: self._client.download(
            url, out.write, offset=out.offset, size=descriptor.size, authorization=authorization),
            progress=lambda: out.offset)

    def _manifest(self, version: str) -> Reply:
        url = f"{self._base}/v2/{self._reference.repository}/manifests/{version}"
        try:
            return self._persist(lambda authorization: self._client.get(
                url, headers={"Accept": _ACCEPT}, authorization=authorization, limit=documents.LIMIT))
        except NotFoundError as error:
            raise NotFoundError(f"{self.host} has no image {self._reference.repository} with "
                                f"{'digest' if is_digest(version) else 'tag'} {version}") from error

    def _checked(self, answer: Reply, digest: str) -> tuple[Descriptor, bytes]:
        actual = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if digest and actual != digest:
            raise DigestError(f"{self.host} was asked for {digest} and sent {actual}")
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        descriptor = Descriptor(media_type, actual, len(answer.body))
        if media_type in documents.INDEXES:
            documents.parse_index(answer.body, descriptor)
        else:
            documents.parse_manifest(answer.body, descriptor)
        return descriptor, answer.body

    def _persist(self, call: Callable[[str], T], progress: Callable[[], int] = lambda: 0) -> T:
        """Make a call, logging in when we are asked to; a token may run out in the middle of a blob."""
        logins, mark = 0, progress()
        while True:
            try:
                return call(self._authorization)
            except UnauthorizedError as refused:
                logins = 1 if progress() > mark else logins + 1
                mark = progress()
                if logins >= _MOST_LOGINS or not self._may_log_in(refused):
                    raise self._refused(refused) from refused
                self._log_in(refused)

    def _may_log_in(self, refused: UnauthorizedError) -> bool:
        # Only the registry itself may ask: a host that a redirect led to has no claim on our credentials.
        return refused.status == 401 and bool(refused.challenge) and urlsplit(refused.url).netloc == self.host

    def _log_in(self, refused: UnauthorizedError) -> None:
        registry = self._reference.registry if self._is_own() else self.host
        credentials = self._finder.find(registry, self._reference.repository)
        before = self._authorization
        try:
            self._authorization = tokens.authorize(
                refused.challenge, f"repository:{self._reference.repository}:pull", self._base, credentials,
                self._client, trusted=self._settings.tokens)
        except AuthError as error:
            raise AuthError(error.message, hint=error.hint or self._advice()) from error
        if self._authorization == before and before.startswith("Basic "):
            raise self._refused(refused) from refused

    def _is_own(self) -> bool:
        return self._base.partition("://")[2] == self._settings.endpoints(self._reference.registry)[-1].partition(
            "://")[2]

    def _refused(self, refused: UnauthorizedError) -> AuthError:
        return AuthError(f"{self.host} refuses {self._reference}: {refused.message}", hint=self._advice())

    def _advice(self) -> str:
        problems = "; ".join(dict.fromkeys(self._finder.problems))
        advice = f"is the name right? if the image is private: docker login {self._reference.registry}, " \
                 f"podman login {self._reference.registry} or skopeo login {self._reference.registry}"
        return f"{problems}; {advice}" if problems else advice

    def _probe(self, endpoint: str) -> str:
        """Find out whether a host that may do without TLS does."""
        host = endpoint.partition("://")[2]
        try:
            self._client.stream(f"https://{host}/v2/").close()
        except TlsError:
            return f"http://{host}"
        except (UnauthorizedError, NotFoundError):
            return f"https://{host}"
        except NetworkError:
            return f"http://{host}"
        return f"https://{host}"
