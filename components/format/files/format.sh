#!/bin/sh
# format.sh [-label NAME] [-type ext4] [-partition dos|gpt] [-force] [-verbose] [-device] [DEVICE]
#
# Gives DEVICE, or the first empty disk, one partition over all of it with a file system in it. A disk that holds a
# file system, a partition table, or is in use is left alone; -force takes it all the same, and only a DEVICE that is
# named. Finding no empty disk is no failure: that is how a machine looks that was formatted on its first start.

die() { echo "format: $*" >&2; exit 1; }
say() { [ -z "$verbose" ] || echo "format: $*"; }

label='' type=ext4 table=dos force='' verbose='' device=''
while [ $# -gt 0 ]; do
	option=${1#-} value=''
	case $1 in
	-*=*) value=${1#*=} option=${option%%=*} ;;
	-force | --force | -verbose | --verbose) value=true ;;
	-*) [ $# -gt 1 ] || die "$1 needs a value"; value=$2; shift ;;
	*) option=device value=$1 ;;
	esac
	case ${option#-} in
	label) label=$value ;;
	type) type=$value ;;
	partition) table=$value ;;
	force) [ "$value" = false ] || force=true ;;
	verbose) [ "$value" = false ] || verbose=true ;;
	device) [ -z "$device" ] || die "one device at most, not $device and $value"; device=$value ;;
	*) die "no option -${option#-}: there are -label -type -partition -force -verbose -device" ;;
	esac
	shift
done
case $type in ext2 | ext3 | ext4) ;; *) die "cannot make $type; ext4, ext3 and ext2 can be made" ;; esac
case $table in dos | gpt) ;; *) die "no partition table $table; it is dos or gpt" ;; esac
[ ${#label} -le 16 ] || die "the label $label is longer than ext4's 16 letters"
[ -z "$force" ] || [ "$device" ] || die "-force needs the device named"

# disks - the whole disks that may be taken without being named: no loop, memory, network or removable ones.
disks() {
	for path in /sys/block/*; do
		name=${path##*/}
		case $name in '*' | loop* | ram* | zram* | nbd* | sr* | fd* | dm-* | md* | mtd*) continue ;; esac
		case $name in mmcblk*boot* | mmcblk*rpmb) continue ;; esac
		[ "$(cat "$path/size")" -gt 0 ] && [ "$(cat "$path/ro")$(cat "$path/removable")" = 00 ] && echo "/dev/$name"
	done
}

# unused DEVICE - no partition, nothing on top of it, not mounted, and no content that blkid knows.
unused() {
	name=${1##*/}
	for part in "/sys/class/block/$name/$name"* "/sys/class/block/$name/holders/"*; do
		[ ! -e "$part" ] || { say "$1 is in use by ${part##*/}"; return 1; }
	done
	while read -r source _; do
		[ "$source" != "$1" ] || { say "$1 is mounted"; return 1; }
	done </proc/mounts
	content=$(blkid -p "$1")
	case $? in
	2) return 0 ;;
	0) echo "format: $1 holds something already and is left alone:${content#*:}" ;;
	*) echo "format: it cannot be told whether $1 is empty; it is left alone" ;;
	esac
	return 1
}

# choose - prints the device to format; waits a little for disks that are slow to show.
choose() {
	for _ in 1 2 3 4 5 6 7 8; do
		[ -z "$(disks)" ] || break
		sleep 0.5
	done
	for disk in $(disks); do
		if unused "$disk" >&2; then
			echo "$disk"
			return
		fi
	done
}

if [ "$device" ]; then
	[ -b "$device" ] || die "$device is no block device"
	[ "$force" ] || unused "$device" || exit 0
else
	device=$(choose)
	[ "$device" ] || { echo "format: no empty disk; nothing to do"; exit 0; }
fi

echo "format: making a $table partition table and $type on $device"
case $table in dos) kind=83 ;; gpt) kind=L ;; esac
printf 'label: %s\ntype=%s\n' "$table" "$kind" | sfdisk --quiet --wipe always --wipe-partitions always "$device" ||
	die "sfdisk could not partition $device"

# The partition's name is the kernel's business: vda1, nvme0n1p1. Its node may take a moment.
name=${device##*/} node=''
for _ in 1 2 3 4 5 6 7 8 9 10; do
	for part in "/sys/class/block/$name/$name"*; do [ ! -e "$part/partition" ] || node=/dev/${part##*/}; done
	[ ! -b "$node" ] || break
	sleep 0.5
done
[ -b "$node" ] || die "the partition of $device does not show"

/usr/sbin/mke2fs -q -F -t "$type" ${label:+-L "$label"} "$node" || die "mke2fs could not make $type on $node"
sync
echo "format: $node has $type${label:+ and the label $label}"
