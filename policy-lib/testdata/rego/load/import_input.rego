#: expect rego_import 4:1 `import input` says nothing
package lictor.u

import input

allow if true
