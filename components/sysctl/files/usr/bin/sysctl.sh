#!/bin/sh
# Sets kernel parameters from /etc/sysctl.d/*.conf: lines "name = value", names with dots or slashes, # and ; comments.
# A parameter that this kernel lacks is reported and passed over; a leading - passes it over in silence.
set -f

put() {
	path=/proc/sys quiet=''
	case $1 in -*) quiet=true ;; esac
	old=$IFS IFS=./
	set -- "$2" ${1#-}
	IFS=$old
	value=$1
	shift
	for part; do path=$path/$part; done
	if [ -e "$path" ]; then
		echo "$value" 2>/dev/null >"$path" || [ "$quiet" ] || echo "sysctl: $path does not take $value"
	elif [ -z "$quiet" ]; then
		echo "sysctl: this kernel has no $path"
	fi
}

# trim TEXT - leaves it in $trimmed without white space around it.
trim() {
	trimmed=$1
	while case $trimmed in [" 	"]*) true ;; *) false ;; esac; do trimmed=${trimmed#?}; done
	while case $trimmed in *[" 	"]) true ;; *) false ;; esac; do trimmed=${trimmed%?}; done
}

set +f
files=$(echo /etc/sysctl.d/*.conf)
set -f
for file in $files; do
	[ -e "$file" ] || continue
	while IFS= read -r line || [ "$line" ]; do
		trim "$line"
		case $trimmed in
		'' | '#'* | ';'*) ;;
		*=*)
			line=$trimmed
			trim "${line#*=}"
			value=$trimmed
			trim "${line%%=*}"
			put "$trimmed" "$value" ;;
		*) echo "sysctl: $file: not a setting: $line" ;;
		esac
	done <"$file"
done
