#: expect rego_recursion 10:1 rule `lictor.u.allow` depends on itself
#: expect rego_reference 10:10 takes in whole policy units
#: expect rego_reference 11:20 takes in whole policy units
#: expect rego_reference 12:20 takes in whole policy units
#: expect rego_reference 13:10 takes in whole policy units
package lictor.u


import data.lictor.u as me
allow if me
allow if some x in data.lictor[input.context.args.unit].deny
allow if some x in data.lictor.u[input.context.args.rule]
allow if data[input.context.args.package]
