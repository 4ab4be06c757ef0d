"""A boot as a table, from the events of all who saw it."""

from __future__ import annotations

from provisioner.console.timeline import Timeline
from provisioner.model.event import Event


def event(at: float, source: str, stage: str, name: str = "", detail: str = "", machine: str = "m",
          **facts: object) -> Event:
    return Event(source, stage, name, machine, detail, 1e9 + at, 500.0 + at, facts)


BOOT = [
    event(0.0, "qemu", "accel", "tcg"),
    event(0.0, "qemu", "power", "on"),
    event(0.5, "console", "firmware", "SeaBIOS", "1.16"),
    event(3.0, "dhcp", "dhcp", "discover", "bios"),
    event(3.1, "dhcp", "dhcp", "offer", "10.99.0.100"),
    event(4.0, "dhcp", "dhcp", "ack", "10.99.0.100"),
    event(4.5, "tftp", "tftp", "done", file="ipxe.efi", bytes=100_000, seconds=0.4),
    event(5.0, "console", "ipxe", "iPXE", "1.0"),
    event(8.0, "http", "http", "done", path="/m/kernel", bytes=14_000_000, seconds=2.5),
    event(9.0, "console", "kernel", "Linux", "6.12"),
    event(11.0, "console", "init", "provisioner", "0.1"),
    event(12.0, "console", "onboot", "000-sysctl", state="started"),
    event(13.5, "console", "onboot", "000-sysctl", state="done"),
    event(13.6, "console", "onboot", "001-format", state="started"),
    event(14.0, "console", "onboot", "001-format", "exit 2", state="failed"),
    event(15.0, "console", "service", "getty", state="started"),
    event(16.0, "console", "address", "eth0", "10.99.0.100"),
    event(17.0, "console", "healthy", "services up"),
]


def test_each_stage_has_its_time_since_power_on_and_its_length() -> None:
    timeline = Timeline()
    for one in BOOT:
        timeline(one)
    rows = [(r.stage, r.name, round(r.at, 3), None if r.took is None else round(r.took, 3), r.failed)
            for r in timeline.rows()]
    assert rows == [
        ("firmware", "SeaBIOS", 0.5, 2.5, False),
        ("dhcp", "m", 3.0, 1.0, False),
        ("tftp", "ipxe.efi", 4.1, 0.4, False),
        ("ipxe", "iPXE", 5.0, 0.5, False),
        ("http", "kernel", 5.5, 2.5, False),
        ("kernel", "Linux", 9.0, 2.0, False),
        ("init", "provisioner", 11.0, 1.0, False),
        ("onboot", "000-sysctl", 12.0, 1.5, False),
        ("onboot", "001-format", 13.6, 0.4, True),
        ("service", "getty", 15.0, None, False),
        ("address", "eth0", 16.0, None, False),
        ("healthy", "services up", 17.0, None, False),
    ]


def test_the_table_is_for_people() -> None:
    timeline = Timeline()
    for one in BOOT:
        timeline(one)
    table = timeline.table().splitlines()
    assert table[0].split() == ["STAGE", "NAME", "AT", "TOOK", "DETAIL"]
    assert "onboot    001-format   13.6 s  0.4 s  FAILED exit 2" in table
    assert "http      kernel        5.5 s  2.5 s  14,000,000 bytes" in table
    assert not any(line.endswith(" ") for line in table)


def test_a_second_dhcp_round_is_a_second_row() -> None:
    timeline = Timeline(500.0)
    for at, name in ((1.0, "discover"), (1.2, "ack"), (5.0, "discover"), (5.1, "discover"), (5.5, "ack")):
        timeline(event(at, "dhcp", "dhcp", name))
    assert [(round(r.at, 1), round(r.took or 0, 1)) for r in timeline.rows()] == [(1.0, 0.2), (5.0, 0.5)]


def test_an_outcome_without_a_name_closes_what_is_open() -> None:
    timeline = Timeline(500.0)
    timeline(event(1.0, "console", "tftp", "default-arm", state="started"))
    timeline(event(2.0, "console", "tftp", "", "File not found", state="failed"))
    (row,) = timeline.rows()
    assert (row.name, row.took, row.failed, row.detail) == ("default-arm", 1.0, True, "File not found")


def test_steps_that_never_say_they_are_done_last_until_the_next() -> None:
    timeline = Timeline(500.0)
    for at, name in ((1.0, "000-a"), (3.0, "001-b")):
        timeline(event(at, "console", "onboot", name, state="started"))
    timeline(event(7.0, "console", "login", "getty"))
    assert [row.took for row in timeline.rows()] == [2.0, 4.0, None]


def test_events_without_a_clock_get_ours_and_no_events_make_no_rows() -> None:
    timeline = Timeline()
    assert timeline.rows() == []
    assert timeline.table() == "STAGE  NAME  AT  TOOK  DETAIL"
    timeline(Event("netboot", "http", "done", data={"path": "/boot.ipxe"}))
    assert timeline.rows()[0].at == 0.0


def test_memory_stays_bounded() -> None:
    timeline = Timeline()
    for number in range(12_000):
        timeline(event(float(number), "console", "service", f"s{number}", state="started"))
    assert len(timeline.rows()) == 10_000


def test_the_boot_servers_word_on_a_transfer_outweighs_the_consoles() -> None:
    timeline = Timeline(500.0)
    timeline(event(1.0, "http", "http", "kernel-start", path="/images/docker/kernel"))
    timeline(event(1.9, "console", "http", "kernel", state="done"))
    timeline(event(2.0, "http", "http", "kernel", path="/images/docker/kernel", bytes=12, seconds=1.0, status=200))
    timeline(event(2.1, "http", "http", "missing", path="/images/docker/other", status=404))
    assert [(row.name, row.took, row.failed, row.detail) for row in timeline.rows()] == [
        ("kernel", 1.0, False, "12 bytes"), ("other", 0.0, True, "missing: ")]
