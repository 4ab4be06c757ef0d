"""Golden command lines: what QEMU is told for each kind of machine."""

from __future__ import annotations

from pathlib import Path

from provisioner.providers.qemu.command import Plumbing, command
from provisioner.providers.qemu.firmware import Firmware
from provisioner.providers.qemu.options import Disk, MachineOptions, Network, Publish

FLASH = Firmware(Path("/fw/CODE.fd"), Path("/state/vars.fd"))
COMMON = ["-nodefaults", "-no-user-config", "-display", "none"]
SOCKETS = ["-chardev", "socket,id=console,fd=7,server=on,wait=off", "-serial", "chardev:console",
           "-chardev", "socket,id=control,fd=8,server=on,wait=off", "-mon", "control,mode=control",
           "-device", "virtio-rng-pci"]
MAC = "52:54:00:00:00:01"


def test_direct_boot_under_emulation() -> None:
    options = MachineOptions(kernel=Path("k"), initrd=Path("i"), cmdline="console=ttyS0 a,b", arch="amd64",
                             name="a,b")
    plumbing = Plumbing("tcg", MAC, 7, 8, [Disk(Path("d,1.img"), 0, "qcow2")], [Publish(8080, 80)])
    assert command(options, plumbing) == [
        "qemu-system-x86_64", "-S", "-name", "a,,b", *COMMON, "-accel", "tcg,thread=single",
        "-machine", "q35,graphics=off", "-cpu", "Nehalem", "-smp", "1", "-m", "1024M", *SOCKETS,
        "-kernel", "k", "-initrd", "i", "-append", "console=ttyS0 a,b",
        "-drive", "if=none,id=disk0,file=d,,1.img,format=qcow2,discard=unmap",
        "-device", "virtio-blk-pci,drive=disk0",
        "-netdev", "user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80",
        "-device", f"virtio-net-pci,netdev=net0,mac={MAC},romfile="]


def test_pxe_by_the_rom_of_the_card_on_a_tap_in_a_namespace() -> None:
    options = MachineOptions(boot="net", arch="amd64", network=Network("tap", "tap0"), reboot=False,
                             enter=("ip", "netns", "exec", "lab"), extra=("-snapshot",))
    argv = command(options, Plumbing("kvm", MAC, 7, 8))
    assert argv[:5] == ["ip", "netns", "exec", "lab", "qemu-system-x86_64"]
    assert argv[argv.index("-cpu") + 1] == "host"
    assert argv[argv.index("-accel") + 1] == "kvm"
    assert argv[-6:] == ["-no-reboot", "-netdev", "tap,id=net0,ifname=tap0,script=no,downscript=no", "-device",
                         f"virtio-net-pci,netdev=net0,mac={MAC},bootindex=1", "-snapshot"]
    assert "-kernel" not in argv


def test_pxe_by_uefi_leaves_the_rom_out() -> None:
    options = MachineOptions(boot="net", arch="amd64", uefi=True, network=Network("bridge", "br0"))
    argv = command(options, Plumbing("tcg", MAC, 7, 8, firmware=FLASH))
    assert argv[-8:] == [
        "-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/fw/CODE.fd",
        "-drive", "if=pflash,unit=1,format=raw,file=/state/vars.fd",
        "-netdev", "bridge,id=net0,br=br0",
        "-device", f"virtio-net-pci,netdev=net0,mac={MAC},romfile=,bootindex=1"]


def test_arm64_from_a_disk_through_uboot_without_a_network() -> None:
    options = MachineOptions(boot="disk", arch="arm64", firmware=Path("u-boot.bin"), network=Network("none"), cpus=4,
                             memory=512)
    disks = [Disk(Path("a"), 0, "raw"), Disk(Path("b"), 0, "raw")]
    assert command(options, Plumbing("tcg", MAC, 7, 8, disks)) == [
        "qemu-system-aarch64", "-S", "-name", "machine", *COMMON, "-accel", "tcg,thread=multi", "-machine", "virt",
        "-cpu", "cortex-a57", "-smp", "4", "-m", "512M", *SOCKETS, "-bios", "u-boot.bin",
        "-drive", "if=none,id=disk0,file=a,format=raw,discard=unmap",
        "-device", "virtio-blk-pci,drive=disk0,bootindex=0",
        "-drive", "if=none,id=disk1,file=b,format=raw,discard=unmap", "-device", "virtio-blk-pci,drive=disk1"]
