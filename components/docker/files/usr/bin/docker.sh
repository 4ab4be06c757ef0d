#!/bin/sh
# Prepares the container for dockerd and runs it with the arguments given.
#
# DOCKER_RAMDISK (in the image's environment) lets runc start containers where the root may be the initramfs.
for program in containerd containerd-shim-runc-v2 runc; do
	command -v $program >/dev/null || {
		echo "docker: the machine has no $program: name it in the init list, or use docker-standalone"
		exit 1
	}
done
rm -rf /run/docker.pid /run/docker/containerd/containerd.pid

# A cgroup with processes can have no children with controllers: where dockerd would put its containers below ours,
# step aside into a leaf, and give the controllers to the children.
if [ -e /sys/fs/cgroup/cgroup.controllers ] && [ -w /sys/fs/cgroup/cgroup.procs ]; then
	while IFS=: read -r _ _ own; do
		case $own in
		/docker | /docker/*)
			mkdir -p /sys/fs/cgroup/dockerd
			while read -r process; do
				echo "$process" 2>/dev/null >/sys/fs/cgroup/dockerd/cgroup.procs
			done <"/sys/fs/cgroup$own/cgroup.procs" ;;
		esac
	done </proc/self/cgroup
	for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
		echo "+$controller" 2>/dev/null >/sys/fs/cgroup/cgroup.subtree_control
	done
fi
exec /usr/sbin/dockerd "$@"
