#!/bin/sh
# mount.sh [-device DEVICE | -label LABEL | -uuid UUID] [DEVICE] MOUNTPOINT
#
# Mounts a partition of the machine at MOUNTPOINT of the machine: the one named, or the first Linux partition with a
# file system that is not mounted yet.

die() { echo "mount: $*" >&2; exit 1; }

device='' label='' uuid='' names=''
while [ $# -gt 0 ]; do
	option=${1#-} value=''
	case $1 in
	-*=*) value=${1#*=} option=${option%%=*} ;;
	-*) [ $# -gt 1 ] || die "$1 needs a value"; value=$2; shift ;;
	*) option=name value=$1 ;;
	esac
	case ${option#-} in
	device) device=$value ;;
	label) label=$value ;;
	uuid) uuid=$value ;;
	name) names="${names:+$names }$value" ;;
	*) die "no option -${option#-}: there are -device -label -uuid" ;;
	esac
	shift
done
set -f
# shellcheck disable=SC2086 # words
set -- $names
set +f
case $# in
1) point=$1 ;;
2) device=$1 point=$2 ;;
*) die "expected a mount point, or a device and a mount point" ;;
esac
case $point in /*) ;; *) die "the mount point $point must start with /" ;; esac

mounted() {
	while read -r source _; do [ "$source" != "$1" ] || return 0; done </proc/mounts
	return 1
}

# find - prints the partition that was asked for, if it is there.
find() {
	if [ "$device" ]; then [ ! -b "$device" ] || echo "$device"; return; fi
	if [ "$label" ]; then blkid -l -o device -t "LABEL=$label"; return; fi
	if [ "$uuid" ]; then blkid -l -o device -t "UUID=$uuid"; return; fi
	for path in /sys/class/block/*/partition; do
		node=${path%/partition} node=/dev/${node##*/}
		[ -b "$node" ] && ! mounted "$node" || continue
		kind=$(blkid -p -o value -s PART_ENTRY_TYPE "$node")
		case $kind in 0x83 | 0fc63daf-8483-4772-8e79-3d69d8477de4) ;; *) continue ;; esac
		[ -z "$(blkid -p -o value -s TYPE "$node")" ] || { echo "$node"; return; }
	done
}

for _ in 1 2 3 4 5 6 7 8; do
	found=$(find)
	[ -z "$found" ] || break
	sleep 0.5
done
[ "$found" ] || die "there is no ${device:-${label:+partition with the label $label}}${uuid:+partition with the UUID \
$uuid}$([ "$device$label$uuid" ] || echo "Linux partition that is not mounted"); $point stays as it is"

# The machine's root lies at /hostroot, shared, so that what is mounted there shows in the machine and its containers.
target=$point
while read -r _ on _; do [ "$on" != /hostroot ] || target=/hostroot$point; done </proc/mounts
mkdir -p "$target" && mount "$found" "$target" || die "$found cannot be mounted at $point"
echo "mount: $found at $point"
