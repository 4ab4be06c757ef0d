# Sourced by the scripts of init: how they speak.
#
# /dev/console is only the last console= of the kernel command line. People and tools watch the others too, so what
# init itself has to say goes to every active one. From a shell (no BOOT in the environment) it goes to that shell.

# Names of the consoles of the kernel, such as "ttyS0 tty0".
consoles() {
	cat /sys/class/tty/console/active 2>/dev/null || echo console
}

# show FILE - copies a file to every console.
show() {
	[ -n "$BOOT" ] || { cat "$1"; return; }
	for console in $(consoles); do
		[ ! -c "/dev/$console" ] || cat "$1" >"/dev/$console"
	done
}

# say WORDS - one line of the console protocol: "provisioner: WORDS".
say() {
	[ -n "$BOOT" ] || { echo "provisioner: $*"; return; }
	for console in $(consoles); do
		[ ! -c "/dev/$console" ] || echo "provisioner: $*" >"/dev/$console"
	done
}

# cmdline WORD - whether the kernel command line has this word.
cmdline() {
	case " $(cat /proc/cmdline) " in *" $1 "*) return 0 ;; esac
	return 1
}
