#!/bin/sh
# mount.sh [-device DEVICE | -label LABEL | -uuid UUID] [DEVICE] MOUNTPOINT
#
# Mounts a partition of the machine at MOUNTPOINT of the machine: the one named, or the first one with ext4, xfs or
# btrfs in it that is not mounted yet.

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

# try - mounts what was asked for at $target and prints what it was; fails while it is not there.
try() {
	case ${device:+device}${label:+label}${uuid:+uuid} in
	device) [ -b "$device" ] && mount "$device" "$target" && echo "$device"; return ;;
	label) found=$(findfs "LABEL=$label") && mount "$found" "$target" && echo "$found"; return ;;
	uuid) found=$(findfs "UUID=$uuid") && mount "$found" "$target" && echo "$found"; return ;;
	esac
	for path in /sys/class/block/*/partition; do
		node=${path%/partition} node=/dev/${node##*/}
		[ -b "$node" ] && ! mounted "$node" || continue
		for type in ext4 xfs btrfs; do
			if mount -t $type "$node" "$target" 2>/dev/null; then
				echo "$node"
				return
			fi
		done
	done
	return 1
}

# The machine's root lies at /hostroot, shared, so that what is mounted there shows in the machine and its containers.
target=$point
while read -r _ on _; do [ "$on" != /hostroot ] || target=/hostroot$point; done </proc/mounts
mkdir -p "$target" || die "cannot make $point"
for _ in 1 2 3 4 5 6 7 8; do
	if found=$(try 2>/run/mount.log); then
		echo "mount: $found at $point"
		exit
	fi
	sleep 0.5
done
cat /run/mount.log >&2
what=${device:-${label:+the file system with the label $label}${uuid:+the file system with the UUID $uuid}}
die "${what:-a partition with a Linux file system} cannot be found and mounted; $point stays as it is"
