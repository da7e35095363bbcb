package lictor.u

import data.lib.text

allow if starts_with(input.resource.id, "files/")

deny contains "a" if _smal(input.context.args.lines)

deny contains "b" if text.trim_all(input.context.args.path) == ""

deny contains "c" if time.now_ns() > 3

deny contains "d" if count(1, 2, 3) == 1

_small(n) if n < 10

deny contains "e" if _small(3)
