# Turns a bundle's runtime.json into calls of shell functions: awk -v part=PART -f json.awk -f plan.awk runtime.json
# To be eval'ed within a shell function, which returns when a call fails. PART is one of:
#
#   part=filesystem   mount_on TYPE SOURCE DESTINATION OPTIONS [PROPAGATION], make_directory PATH, make_cgroup NAME, and the variables
#                     namespace (of containerd) and process (yes if the other part has something to do)
#   part=process      interface NAME ADD PEER IN_ROOT, bind_namespace KIND PATH: once the container's process is there
#
# Order and meaning are LinuxKit's: mounts, then mkdir, then cgroups; interfaces, then namespaces.

END {
	if (broken) exit 2
	if (part == "process") process()
	else filesystem()
}

function filesystem(    i, j, o, options, propagation) {
	print "namespace=" quote(VALUE["namespace"]), "process=" (process_wanted() ? "yes" : "")
	for (i = 0; i < COUNT["mounts"]; i++) {
		options = propagation = ""
		for (j = 0; j < COUNT["mounts", i, "options"]; j++) {
			o = VALUE["mounts", i, "options", j]
			if (o ~ /^r?(private|shared|slave|unbindable)$/) propagation = o
			else options = options (options == "" ? "" : ",") o
			if (o ~ /^(upperdir|workdir)=/) call("make_directory " quote(substr(o, index(o, "=") + 1)))
		}
		call("mount_on " quote(VALUE["mounts", i, "type"]) " " quote(VALUE["mounts", i, "source"]) " " \
			quote(VALUE["mounts", i, "destination"]) " " quote(options) " " propagation)
	}
	for (i = 0; i < COUNT["mkdir"]; i++) call("make_directory " quote(VALUE["mkdir", i]))
	for (i = 0; i < COUNT["cgroups"]; i++) call("make_cgroup " quote(VALUE["cgroups", i]))
}

function process_wanted(    kind) {
	if (COUNT["interfaces"]) return 1
	for (kind in VALUE) if (kind ~ "^bindNS" SUBSEP && VALUE[kind] != "") return 1
	return 0
}

function process(    i, n, kinds, path) {
	for (i = 0; i < COUNT["interfaces"]; i++)
		call("interface " quote(VALUE["interfaces", i, "name"]) " " quote(VALUE["interfaces", i, "add"]) " " \
			quote(VALUE["interfaces", i, "peer"]) " " quote(VALUE["interfaces", i, "createInRoot"]))
	n = split("cgroup ipc mnt net pid user uts", kinds, " ")
	for (i = 1; i <= n; i++) {
		path = VALUE["bindNS", kinds[i]]
		if (path != "") call("bind_namespace " kinds[i] " " quote(path))
	}
}

function call(command) {
	print command " || return"
}

function quote(text) {
	gsub(/'/, "'\\''", text)
	return "'" text "'"
}
