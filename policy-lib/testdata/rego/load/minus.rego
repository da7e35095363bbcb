#: expect rego_minus 4:22 `-` in front of what is not a number
package lictor.u

deny contains "x" if -input.context.args.n == -5
