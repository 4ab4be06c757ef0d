"""What the user says about registries."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.errors import InputError, UsageError
from provisioner.oci.settings import Settings, check_url


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    path = tmp_path / "config" / "provisioner" / "registries.yml"
    path.parent.mkdir(parents=True)
    return path


def test_nothing_said(config: Path) -> None:
    settings = Settings.load()
    assert settings.endpoints("docker.io") == ("https://registry-1.docker.io",)
    assert settings.endpoints("reg.example.com:5000") == ("https://reg.example.com:5000",)
    assert settings.endpoints("localhost:5000") == ("auto://localhost:5000",)
    assert settings.endpoints("127.0.0.1:5000") == ("auto://127.0.0.1:5000",)
    assert settings.endpoints("[::1]:5000") == ("auto://[::1]:5000",)


def test_the_file(config: Path) -> None:
    config.write_text("mirrors:\n  docker.io: [https://a.example.com/, http://b.example.com/hub]\n"
                      "  '*': [https://c.example.com]\ninsecure: [reg.lan:5000]\ntokens: [login.example.com]\n")
    settings = Settings.load()
    assert settings.endpoints("docker.io") == ("https://a.example.com", "http://b.example.com/hub",
                                               "https://registry-1.docker.io")
    assert settings.endpoints("reg.lan:5000") == ("https://c.example.com", "auto://reg.lan:5000")
    assert settings.tokens == {"login.example.com"}


def test_options_and_environment_come_first(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config.write_text("mirrors: {docker.io: ['https://file.example.com']}\n")
    monkeypatch.setenv("PROVISIONER_MIRROR", "docker.io=https://env.example.com, https://any.example.com")
    settings = Settings.load(["registry-1.docker.io=http://option.example.com"])
    assert settings.endpoints("docker.io")[:3] == ("http://option.example.com", "https://env.example.com",
                                                   "https://file.example.com")
    assert settings.endpoints("quay.io") == ("https://any.example.com", "https://quay.io")


def test_a_url_with_an_equals_sign_in_its_path_is_no_registry(config: Path) -> None:
    assert Settings.load(["https://m.example.com/a=b"]).endpoints("x.io")[0] == "https://m.example.com/a=b"


@pytest.mark.parametrize("text", ["mirror.example.com", "docker.io=mirror.example.com", "ftp://x", "https://",
                                  "https://user:pw@x", "https://x?y=1", "docker.io="])
def test_what_is_no_mirror(config: Path, text: str) -> None:
    with pytest.raises(UsageError, match="no mirror") as caught:
        Settings.load([text])
    assert "https://" in caught.value.hint


def test_faults_of_the_file_have_a_place(config: Path) -> None:
    config.write_text("mirrors: {docker.io: https://x.example.com}\ninsecur: [a]\n")
    with pytest.raises(InputError) as caught:
        Settings.load()
    assert [(p.line, Path(p.file).name) for p in caught.value.problems] == [(1, "registries.yml"),
                                                                           (2, "registries.yml")]


def test_checked_urls_lose_their_slash() -> None:
    assert check_url("https://x.example.com/") == "https://x.example.com"
