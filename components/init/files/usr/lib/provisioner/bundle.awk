# Writes a bundle's config.json anew with an absolute root.path, and with a hook when -v hook=COMMAND is set, which then
# gets the bundle's path as its argument: awk -v bundle=PATH [-v hook=COMMAND] -f json.awk -f bundle.awk config.json

END {
	if (broken || !("root" SUBSEP "path" in SIZE)) exit 2
	start = AT["root", "path"]
	before = substr(TEXT, 1, start - 1)
	if (hook != "") {
		hooks = sprintf("{\"createRuntime\": [{\"path\": \"%s\", \"args\": [\"%s\", \"%s\"]}]}", hook, hook, bundle)
		before = "{\"hooks\": " hooks "," substr(before, index(before, "{") + 1)
	}
	printf "%s\"%s/rootfs\"%s", before, bundle, substr(TEXT, start + SIZE["root", "path"])
}
