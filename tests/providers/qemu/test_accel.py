"""KVM is taken only when something boots in it; the probe's boot sector is proven under emulation."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import pytest

from provisioner.errors import UsageError
from provisioner.model.platform import Platform
from provisioner.providers.qemu import accel
from provisioner.providers.qemu.options import MachineOptions

HOST = Platform.host().architecture
OTHER = "arm64" if HOST == "amd64" else "amd64"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, a /dev/kvm that opens, no word from outside."""
    monkeypatch.setenv("PROVISIONER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PROVISIONER_ACCEL", raising=False)
    (tmp_path / "kvm").write_bytes(b"")
    monkeypatch.setattr(accel, "KVM", tmp_path / "kvm")


def machine(arch: str = HOST, wanted: str = "auto") -> MachineOptions:
    return MachineOptions(boot="net", arch=arch, accel=wanted)


def probe(monkeypatch: pytest.MonkeyPatch, answer: bool) -> list[str]:
    asked: list[str] = []

    def boots(kind: str, options: MachineOptions) -> bool:
        asked.append(f"{options.arch}/{kind}")
        return answer

    monkeypatch.setattr(accel, "_boots", boots)
    return asked


@pytest.mark.parametrize("answer", [True, False])
def test_the_probe_decides_and_is_asked_once_per_boot_of_the_host(answer: bool, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    asked = probe(monkeypatch, answer)
    first, second = accel.choose(machine()), accel.choose(machine())
    assert first == second
    assert first.name == ("kvm" if answer else "tcg")
    assert len(asked) == 1
    cache = tmp_path / "cache" / "accel.json"
    cache.write_text(json.dumps({f"an-earlier-boot/{HOST}/bios": True}))
    accel.choose(machine())
    assert len(asked) == 2
    assert "an-earlier-boot" not in cache.read_text()


def test_a_cache_that_is_damaged_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = probe(monkeypatch, True)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "accel.json").write_text("{half")
    assert accel.choose(machine()).name == "kvm"
    assert len(asked) == 1


def test_each_kind_of_boot_has_a_probe_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = probe(monkeypatch, True)
    accel.choose(MachineOptions(kernel=Path("k"), arch=HOST))
    accel.choose(MachineOptions(boot="net", arch=HOST, uefi=True))
    accel.choose(MachineOptions(boot="net", arch=HOST))
    assert asked[:2] == [f"{HOST}/kernel", f"{HOST}/uefi"]


def test_no_probe_where_kvm_is_out_of_the_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = probe(monkeypatch, True)
    assert OTHER in accel.choose(machine(OTHER)).reason
    monkeypatch.setattr(accel, "KVM", tmp_path / "none")
    assert "no /dev/kvm" in accel.choose(machine()).reason
    assert asked == []


def test_words_from_outside_win(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = probe(monkeypatch, True)
    monkeypatch.setenv("PROVISIONER_ACCEL", "tcg")
    assert accel.choose(machine()).name == "tcg"
    assert accel.choose(machine(wanted="kvm")).name == "kvm"
    monkeypatch.setenv("PROVISIONER_ACCEL", "hax")
    with pytest.raises(UsageError, match="PROVISIONER_ACCEL=hax"):
        accel.choose(machine())
    assert asked == []


@pytest.mark.tool
def test_the_boot_sector_says_its_word_where_it_runs() -> None:
    assert accel._boots("bios", MachineOptions(boot="net", arch="amd64"), "tcg")


@pytest.mark.tool
def test_a_machine_that_hangs_is_given_up_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "TIME_LIMIT", 0.5)
    monkeypatch.setattr(accel, "_MARKERS", {"bios": b"never said"})
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    began = time.monotonic()
    assert not accel._boots("bios", MachineOptions(boot="net", arch="amd64"), "tcg")
    assert time.monotonic() > began
    assert list(tmp_path.glob("provisioner-*")) == []
