#!/bin/sh
# Writes values below /sys from /etc/sysfs.d/*.conf: lines "path = value", paths relative to /sys, # comments.
# What this kernel lacks or does not take is reported and passed over.
for file in /etc/sysfs.d/*.conf; do
	[ -e "$file" ] || continue
	while read -r path equals value || [ "$path" ]; do
		case $path in
		'' | '#'* | ';'*) continue ;;
		*=*) value=${path#*=}${equals:+$equals}${value:+ $value} path=${path%%=*} equals='=' ;;
		esac
		if [ "$equals" != = ]; then
			echo "sysfs: $file: not a setting: $path $equals $value"
		elif [ ! -e "/sys/$path" ]; then
			echo "sysfs: this kernel has no /sys/$path"
		else
			echo "$value" 2>/dev/null >"/sys/$path" || echo "sysfs: /sys/$path does not take $value"
		fi
	done <"$file"
done
