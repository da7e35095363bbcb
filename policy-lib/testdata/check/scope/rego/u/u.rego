package lictor.u

allow if input.phase == "request"
