#: expect rego_test 6:1 `test_a` is a test already
#: expect rego_test 8:1 `test_b` would never be run
package lictor.u

test_a if true
test_a if false

test_b(x) if x
