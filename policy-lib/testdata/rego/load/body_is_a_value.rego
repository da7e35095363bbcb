#: expect rego_body 7:10 the body is a value, which always holds
#: expect rego_body 9:22 the body is a value, which always holds
#: expect rego_body 11:7 the body is a value, which always holds
#: expect rego_body 13:21 the body is a value, which always holds
package lictor.u

allow if {}

deny contains "x" if {input.context.args.a, input.context.args.b}

_x if [input.context.args.a]

ask contains "x" if {"a": input.context.args.a}

list if {input.context.args.a; true}

labels contains "x" if count({x | x := input.context.args.a}) == 1
