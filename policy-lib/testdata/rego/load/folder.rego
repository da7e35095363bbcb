#: expect rego_package 2:1 does not lie in its folder
package lictor.other

allow if true
