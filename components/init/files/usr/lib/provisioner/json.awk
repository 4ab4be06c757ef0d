# A reader of JSON (RFC 8259) for busybox awk. A second -f program uses what it leaves in END:
#
#   VALUE[key, index, ...]          each string (unescaped), number, true, false or null
#   COUNT[key, index, ...]          how many members an object or array has
#   AT[...], SIZE[...]              where that value's text lies in TEXT, to be replaced there
#
# A text that is not JSON ends the program with status 2 and a message, before the second program's END acts on it:
# that program begins its END with `if (broken) exit 2`.

BEGIN { RS = "\001" }                   # a byte that JSON cannot hold: the file is one record
{ TEXT = TEXT $0 }
END {
	rest = TEXT
	offset = 1
	next_token()
	value("")
	next_token()
	if (token != "") fail("nothing more")
}

function fail(wanted) {
	if (!broken) print FILENAME ": not JSON at byte " offset ": expected " wanted >"/dev/stderr"
	broken = 1
	rest = token = ""
}

# Moves to the next token: its text in `token`, "" at the end.
function next_token() {
	offset += length(token)
	if (match(rest, /^[ \t\r\n]+/)) {
		offset += RLENGTH
		rest = substr(rest, RLENGTH + 1)
	}
	if (rest == "") RLENGTH = 0
	else if (index("{}[]:,", substr(rest, 1, 1))) RLENGTH = 1
	else if (!match(rest, /^"([^"\\]|\\.)*"/) && !match(rest, /^(true|false|null|-?[0-9][-+.0-9eE]*)/)) fail("a value")
	token = substr(rest, 1, RLENGTH)
	rest = substr(rest, RLENGTH + 1)
}

# Reads the value that starts with the current token.
function value(path) {
	if (token == "{") members(path, "}")
	else if (token == "[") members(path, "]")
	else if (token ~ /^["0-9tfn-]/) {
		VALUE[path] = token ~ /^"/ ? unescape(token) : token
		AT[path] = offset
		SIZE[path] = length(token)
	} else fail("a value")
}

# Reads the members of an object or array, whose opening bracket is the current token.
function members(path, closing,    n, key) {
	next_token()
	for (n = 0; token != closing; n++) {
		if (n) {
			if (token != ",") return fail("a comma or " closing)
			next_token()
		}
		key = n
		if (closing == "}") {
			if (token !~ /^"/) return fail("a key")
			key = unescape(token)
			next_token()
			if (token != ":") return fail("a colon")
			next_token()
		}
		value(path == "" ? key : path SUBSEP key)
		if (broken) return
		next_token()
	}
	COUNT[path] = n
}

function unescape(text,    out, c) {
	text = substr(text, 2, length(text) - 2)
	if (!index(text, "\\")) return text
	for (out = ""; match(text, /\\./); text = substr(text, RSTART + 2)) {
		out = out substr(text, 1, RSTART - 1)
		c = substr(text, RSTART + 1, 1)
		if (c == "u") {
			out = out utf8(hex(substr(text, RSTART + 2, 4)))
			RSTART += 4
		} else out = out (c == "n" ? "\n" : c == "t" ? "\t" : c == "r" ? "\r" : c == "b" ? "\b" : c == "f" ? "\f" : c)
	}
	return out text
}

function hex(digits,    i, n) {
	for (i = n = 0; i < 4;) n = n * 16 + index("0123456789abcdef", tolower(substr(digits, ++i, 1))) - 1
	return n
}

# UTF-8 of one UTF-16 unit; halves of a pair become "?": no path or option has them.
function utf8(n) {
	if (n < 128) return sprintf("%c", n)
	if (n < 2048) return sprintf("%c%c", 192 + int(n / 64), 128 + n % 64)
	if (n >= 55296 && n < 57344) return "?"
	return sprintf("%c%c%c", 224 + int(n / 4096), 128 + int(n / 64) % 64, 128 + n % 64)
}
