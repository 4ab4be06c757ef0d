#!/bin/sh
# Registers the interpreters of /etc/binfmt.d/*.conf with the kernel (Documentation/admin-guide/binfmt-misc.rst), those
# that are in this image. The flag F makes the kernel open them now, so that every container can use them.
registry=/proc/sys/fs/binfmt_misc
mount -t binfmt_misc binfmt_misc $registry || exit
for file in /etc/binfmt.d/*.conf; do
	while read -r line || [ "$line" ]; do
		case $line in '' | '#'*) continue ;; esac
		name=${line#:} interpreter=${line%:*}
		name=${name%%:*} interpreter=${interpreter##*:}
		[ -e "$interpreter" ] || continue
		[ ! -e "$registry/$name" ] || echo -1 >"$registry/$name"
		printf '%s\n' "$line" >$registry/register || exit
		echo "binfmt: $name"
	done <"$file"
done
