"""References as Docker, containerd and LinuxKit read them."""

from __future__ import annotations

import pytest

from provisioner.errors import InputError
from provisioner.oci.reference import Reference, is_digest

HEX = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(("text", "full"), [
    ("ubuntu", "docker.io/library/ubuntu:latest"),
    ("ubuntu:22.04", "docker.io/library/ubuntu:22.04"),
    ("library/bare:1", "docker.io/library/bare:1"),
    ("acme/tool", "docker.io/acme/tool:latest"),
    ("team/sub/entry:1", "docker.io/team/sub/entry:1"),
    ("docker.io/bare:1", "docker.io/library/bare:1"),
    ("index.docker.io/bare:1", "docker.io/library/bare:1"),
    ("docker.io/library/bare:1", "docker.io/library/bare:1"),
    ("reg.example.com/team/app/entry:v2.1", "reg.example.com/team/app/entry:v2.1"),
    ("reg.example.com:5000/app", "reg.example.com:5000/app:latest"),
    ("localhost/app:1", "localhost/app:1"),
    ("localhost:5000/entry:1", "localhost:5000/entry:1"),
    ("[::1]:5000/app", "[::1]:5000/app:latest"),
    ("Uppercase/app", "Uppercase/app:latest"),
    ("provisioner/docker", "docker.io/provisioner/docker:latest"),
    ("a.b_c__d-e/f.g:T_a.g-1", "a.b_c__d-e/f.g:T_a.g-1"),
    (f"acme/entry@{HEX}", f"docker.io/acme/entry@{HEX}"),
    (f"acme/entry:1@{HEX}", f"docker.io/acme/entry:1@{HEX}"),
])
def test_what_a_short_name_stands_for(text: str, full: str) -> None:
    if text.startswith("a.b_c"):  # an underscore is no part of a host name
        with pytest.raises(InputError, match="no registry"):
            Reference.parse(text)
        return
    parsed = Reference.parse(text)
    assert str(parsed) == full
    assert Reference.parse(full) == parsed


@pytest.mark.parametrize(("text", "what"), [
    ("", "no image name"),
    ("FOO bar", "no image name"),
    ("Ubuntu", "lower-case"),
    ("acme/Tool", "lower-case"),
    ("a//b", "no image name"),
    ("../etc/passwd", "no registry"),
    ("acme/../x", "no image name"),
    ("x:", "no tag"),
    ("x:-bad", "no tag"),
    ("x:" + "t" * 129, "no tag"),
    ("x@sha256:abc", "no digest"),
    (f"x@{HEX.upper()}", "no digest"),
    ("x@sha512:" + "0" * 128, "no digest"),
    ("-bad-.com/x", "no registry"),
    ("host:port/x", "no registry"),
    ("a/" * 130 + "x", "too long"),
    ("https://example.com/x", "no registry"),
    ("x\n", "no image name"),
    ("x:1\n", "no tag"),
])
def test_what_is_no_reference(text: str, what: str) -> None:
    with pytest.raises(InputError, match=what) as caught:
        Reference.parse(text)
    assert caught.value.hint


def test_a_digest_alone_decides() -> None:
    both = Reference.parse(f"acme/entry:1@{HEX}")
    assert both.key == f"docker.io/acme/entry@{HEX}" == Reference.parse(f"acme/entry@{HEX}").key
    assert both.version == HEX
    assert Reference.parse("acme/entry").version == "latest"


@pytest.mark.parametrize(("text", "familiar"), [("ubuntu", "ubuntu:latest"), ("acme/x:1", "acme/x:1"),
                                                ("reg.example.com/library/x:1", "reg.example.com/library/x:1"),
                                                ("library/a/b:1", "library/a/b:1")])
def test_familiar_names(text: str, familiar: str) -> None:
    assert Reference.parse(text).familiar == familiar
    assert Reference.parse(familiar) == Reference.parse(text)


def test_digests() -> None:
    assert is_digest(HEX)
    assert not any(map(is_digest, [None, 1, "", HEX[:-1], HEX + "0", HEX + "\n", HEX.replace("a", "A"), HEX[7:]]))
