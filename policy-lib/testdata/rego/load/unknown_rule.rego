#: expect rego_rule 5:1 rule `denny` means nothing
package lictor.u

# A denial that would never be asked.
denny contains "no" if true

_helper := 1

test_helper if _helper == 1
