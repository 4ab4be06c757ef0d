"""The commands are plain values that compare by content, so that transcripts can be written down."""

from __future__ import annotations

import dataclasses

import pytest

from provisioner.protocols.commands import Burst, Lease, SaveLease, Send


def test_commands_compare_by_content() -> None:
    assert Send(b"x", "10.0.0.1", 68) == Send(b"x", "10.0.0.1", 68)
    assert Burst((b"a", b"b"), "10.0.0.1", 1) != Burst((b"a",), "10.0.0.1", 1)
    assert SaveLease(Lease("10.0.0.9", "52:54:00:00:00:01", 5.0)).lease.state == "bound"


def test_commands_cannot_be_changed_on_their_way() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Send(b"x", "10.0.0.1", 68).port = 69  # type: ignore[misc]  # the point of the test
