#: expect rego_print 6:7 `print` has no value
package lictor.u

allow if {
	print("fine", input)
	x := print("no")
	x
}
