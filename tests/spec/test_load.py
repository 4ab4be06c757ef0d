"""Files to one spec: LinuxKit's grammar, its merging, and what it forgets."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from provisioner.errors import InputError, NotFoundError, Problem, UsageError
from provisioner.model.spec import ImageSpec, Interface, Kernel, Trust
from provisioner.spec import load, merge, parse, parse_label

WHOLE = """
kernel: {image: "acme/kernel:1", cmdline: "console=ttyS0", binary: bzImage, tar: none, ucode: intel.cpio}
init: [acme/init:1, acme/runc:1]
onboot:
  - name: dhcpcd
    image: acme/dhcpcd:1
    command: [/sbin/dhcpcd, "-1"]
services:
  - name: app
    image: app
    capabilities.add: [CAP_CHOWN]
    ambient: [all]
    binds.add: ["/a:/b", "data:/data:ro"]
    mounts: [{type: proc}, {source: mqueue}, {type: ext4, source: /dev/sda1, destination: /d, options: [ro]}]
    devices: [{path: all, type: b}, {path: /dev/x, type: c, major: 5, minor: 1, mode: "0666"}]
    tmpfs: ["/tmp:size=1m", /run]
    env: [A=1]
    cwd: /srv
    net: new
    readonly: true
    maskedPaths: [/proc/kcore]
    uid: app
    gid: 5
    additionalGids: [root, 7, ""]
    noNewPrivileges: true
    oomScoreAdj: -500
    rootfsPropagation: shared
    cgroupsPath: /x
    resources:
      memory: {limit: 1, kernelTCP: 2, disableOOMKiller: true}
      cpu: {shares: 1, realtimeRuntime: 2}
      blockio: {throttleReadBpsDevice: [{major: 8, minor: 0, rate: 100}]}
      hugepageLimits: [{pageSize: 2097152, limit: 1}]
    sysctl: {net.ipv4.ip_forward: "1"}
    rlimits: ["nofile,100,unlimited"]
    uidMappings: [{hostID: 1000, containerID: 0, size: 10}]
    annotations: {who: me}
    runtime:
      mkdir: [/x]
      interfaces: [{name: eth0, add: veth, peer: veth1, createInRoot: true}]
      bindNS: {net: /run/netns/x}
      namespace: other
volumes: [{name: data, image: seed, readonly: true, format: oci, platforms: [linux/amd64]}]
files:
  - {path: /etc/x, contents: hello, mode: "0644", uid: app}
  - {path: dir, directory: true}
  - {path: link, symlink: /etc/x}
  - {path: etc/me.yml, metadata: yaml}
  - {path: opt, source: ./none, optional: true}
trust: {image: [acme/kernel:1], org: [acme]}
"""


def write(folder: Path, **texts: str) -> list[Path]:
    paths = []
    for name, text in texts.items():
        paths.append(folder / f"{name}.yml")
        paths[-1].write_text(text)
    return paths


def faults(*sources: str | Path) -> list[str]:
    with pytest.raises(InputError) as caught:
        load(*sources)
    return [str(problem) for problem in caught.value.problems]


def test_the_whole_grammar(tmp_path: Path) -> None:
    spec = load(*write(tmp_path, whole=WHOLE))
    app = spec.services[0]
    assert spec.kernel.kernel_path == "bzImage"
    assert spec.kernel.tar_path == ""
    assert app.mounts is not None
    assert app.mounts[1].source == "mqueue"
    assert app.runtime is not None
    assert app.runtime.interfaces == (Interface.model_validate(
        {"name": "eth0", "add": "veth", "peer": "veth1", "createInRoot": True}),)
    assert spec.trust == Trust(image=("acme/kernel:1",), org=("acme",))
    assert spec.ids() == {"dhcpcd": 100, "app": 101}
    line = next(number for number, text in enumerate(WHOLE.splitlines(), 1) if "rlimits" in text)
    assert (app.place("rlimits", 0).line, app.place("rlimits", 0).column) == (line, 15)


def test_what_is_left_out_is_not_what_is_empty() -> None:
    spec = parse("services: [{name: a, image: b, binds: []}]", file="f")
    assert spec.services[0].binds == ()
    assert spec.services[0].command is None
    assert Kernel().tar_path == "kernel.tar"


@pytest.mark.parametrize(("text", "said"), [
    ("outputs: [tar]", "f:1:1: unknown key `outputs` in the file"),
    ("services:\n", "f:1:10: services has no value"),
    ("services: [{image: b}]", "`name` is missing in services[0]"),
    ("services: [{name: a, image: b, comand: [x]}]", "did you mean `command`?"),
    ("services: [{name: a, image: b, command: /bin/sh}]", "must be a list, not the text '/bin/sh'"),
    ("services: [{name: a, image: b, readonly: yes}]", "must be true or false, not the text 'yes'"),
    ("services: [{name: a, image: b, env: [A, 1]}]", "f:1:41: services[0].env[1] must be text, not the number 1"),
    ("services: [{name: a, image: b, hostname: 0755}]", "put it in quotes"),
    ("services: [{name: a, image: b, uid: [1]}]", "must be text or a whole number, not a list"),
    ("services: [{name: a, image: b, oomScoreAdj: 1.5}]", "must be a whole number"),
    ("services: [{name: a, image: b, capabilities: [CHOWN]}]", "did you mean CAP_CHOWN?"),
    ("services: [{name: a, image: b, capabilities: [all, CAP_CHOWN]}]", "'all' must stand alone"),
    ("services: [{name: a, image: b, rlimits: [\"nofile,1,-1\"]}]", "the word unlimited, not '-1'"),
    ("services: [{name: a, image: b, rlimits: [\"nofiles,1,1\"]}]", "no rlimit is called 'nofiles'"),
    ("services: [{name: a, image: b, binds: [/a]}]", "source:destination[:options]"),
    ("services: [{name: a, image: b, tmpfs: [\"a:b:c\"]}]", "destination[:options]"),
    ("services: [{name: a, image: b, mounts: [{source: /x, destination: /y}]}]", "the mount at /y needs a type"),
    ("services: [{name: a, image: b, mounts: [{type: ext4}]}]", "needs a destination"),
    ("services: [{name: a, image: b, devices: [{path: /dev/x}]}]", "needs a mode"),
    ("services: [{name: a, image: b, devices: [{path: /dev/x, mode: 0666}]}]", "put it in quotes"),
    ("volumes: [{name: A}]", "lower-case letters, digits, - and _ only, unlike 'A'"),
    ("services: [{name: a, image: b, uid: -1}]", "uid: must be at least 0, not -1"),
    ("services: [{name: a, image: b, uid: 1.5}]", "must be text or a whole number, not the number 1.5"),
    ("volumes: [{name: a, format: ocy}]", "did you mean oci?"),
    ("files: [{path: a}]", "needs contents, source, metadata, symlink or directory"),
    ("files: [{contents: a}]", "a file needs a path"),
    ("files: [{path: a, contents: x, mode: \"0648\"}]", "octal digits"),
    ("files: [{path: a, contents: x, source: y}]", "a has source beside contents"),
    ("files: [{path: a, source: x, metadata: yaml}]", "both source and metadata"),
    ("files: [{path: a, directory: true, contents: x}]", "the directory a has contents"),
    ("files: [{path: a, metadata: xml}]", "yaml or json"),
    ("files: [{path: a/, contents: x}]", "say directory: true"),
    ("kernel: {tar: false}", "must be text"),
])
def test_what_linuxkit_rejects_is_rejected(text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, file="f")
    assert said in str(caught.value)


@pytest.mark.parametrize("text", [
    "{}", "---\n", "services: [{name: a, image: \"FOO bar\"}]", "services: [{name: a, image: b, uid: 0144}]",
    "services: [{name: a, image: b, annotations: {1: x}}]", "files: [{path: a, contents: x, mode: \"\"}]",
    "files: [{path: a, directory: true, symlink: b}]", "services: [{name: a, image: b, runtime: {}}]",
    "services: [{name: a, image: b, capabilities.add: [NONSENSE], capabilities: []}]",
    "onboot: [{name: a, image: b}, {name: a, image: b}]", "trust: {}", "kernel: {}",
])
def test_what_linuxkit_accepts_is_accepted(text: str) -> None:
    assert isinstance(parse(text, file="f"), ImageSpec)


def test_files_merge_in_order(tmp_path: Path) -> None:
    one, two = write(
        tmp_path,
        one="kernel: {image: a, cmdline: one, tar: none}\ninit: [a]\nvolumes: [{name: v}]\ntrust: {org: [x]}",
        two="kernel: {cmdline: two, ucode: u}\ninit: [b]\nservices: [{name: s, image: i, binds: [\"v:/v\"]}]\n"
            "trust: {org: [y]}")
    spec = load(one, two)
    assert spec.kernel == Kernel(image="a", cmdline="two", tar="none", ucode="u")
    assert spec.init == ("a", "b")
    assert spec.trust == Trust(org=("x", "y"))
    assert spec.services[0].place("binds", 0).file == str(two)


def test_a_later_kernel_is_told_by_its_own_place() -> None:
    one, two = parse("kernel: {image: a}", file="one"), parse("kernel: {image: b, cmdline: x}", file="two")
    assert merge([one, two]).kernel.place("image").file == "two"
    assert merge([one, parse("{}", file="two")]).kernel == Kernel(image="a")


def test_faults_of_all_files_come_together(tmp_path: Path) -> None:
    one, two = write(tmp_path, one="nonsense: 1", two="init: a")
    assert [fault.rpartition("/")[2] for fault in faults(one, two)] == [
        "one.yml:1:1: unknown key `nonsense` in the file (known keys: kernel, init, onboot, onshutdown, services, "
        "files, volumes, trust)",
        "two.yml:1:7: init must be a list, not the text 'a' (write a list: [a, b])"]


def test_standard_input_and_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(b"init: [a]")

    monkeypatch.setattr("sys.stdin", Input)
    url = "http://example.com/a.yml"
    spec = load("-", url, fetch=lambda asked: b"init: [b]" if asked == url else b"")
    assert spec.init == ("a", "b")
    with pytest.raises(UsageError, match="cannot be read here"):
        load(url)


def test_missing_files_and_none(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none.yml: No such file"):
        load(tmp_path / "none.yml")
    with pytest.raises(NotFoundError, match="Is a directory"):
        load(tmp_path)
    with pytest.raises(UsageError):
        load()


def test_packages_stand_for_images(tmp_path: Path) -> None:
    text = ("kernel: {image: \"@pkg:k\"}\ninit: [\"@pkg:../i\"]\nonboot: [{name: a, image: \"@pkg:a\"}]\n"
            "volumes: [{name: v, image: \"@pkg:v\"}]\n")
    path, = write(tmp_path, p=text)
    spec = load(path, packages=lambda directory, beside: f"{beside.name}/{directory}:x")
    name = tmp_path.name
    assert (spec.kernel.image, spec.init) == (f"{name}/k:x", (f"{name}/../i:x",))
    assert (spec.onboot[0].image, spec.volumes[0].image) == (f"{name}/a:x", f"{name}/v:x")
    assert spec.onboot[0].place("image").line == 3
    assert len(faults(path)) == 4


def test_a_second_document_is_noted_not_read(tmp_path: Path) -> None:
    noted: list[Problem] = []
    load(*write(tmp_path, two="init: [a]\n---\ninit: 5\n"), noted=noted)
    assert [problem.line for problem in noted] == [2]


def test_labels() -> None:
    label = parse_label('{"pid": "host", "capabilities": ["CAP_NOSUCH"]}', file="label of x")
    assert (label.pid, label.capabilities) == ("host", ("CAP_NOSUCH",))
    for text, said in (("[1]", "must be a mapping"), ("{\"name\": \"x\"}", "unknown key `name`"),
                       ("{\"pid\": ", "not YAML"), ("{\"binds\": \"x\"}", "must be a list")):
        with pytest.raises(InputError, match=f"^label of x:.*{said}"):
            parse_label(text, file="label of x")


def test_a_doubled_name_is_told_beside_other_faults() -> None:
    text = "services:\n- {name: a, image: x, bind: []}\n- {name: a, image: y}\nvolumes: 3\n"
    with pytest.raises(InputError) as caught:
        parse(text, file="f")
    assert [str(problem) for problem in caught.value.problems] == [
        "f:2:23: unknown key `bind` in services[0] (did you mean `binds`?)",
        "f:3:10: two services are named `a` (the first is at f:2:10)",
        "f:4:10: volumes must be a list, not the number 3",
    ]


@pytest.mark.parametrize("text", ["services: [3, a, {name: [b]}, {name: 4}]", "services: {name: a}", "[services]"])
def test_names_that_are_none_are_no_doubles(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, file="f")
    assert "two services" not in str(caught.value)
