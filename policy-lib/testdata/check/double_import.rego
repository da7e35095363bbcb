package lictor.u

import data.numbers
import data.numbers # again
import data.numbers.most as numbers2

allow if input.context.args.lines < numbers.most

deny contains "d" if input.context.args.lines > numbers2
