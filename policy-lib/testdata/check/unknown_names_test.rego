package lictor.u

# Tests may name what they like.
test_a if not deny["z"] with input as {"resource": {"id": "nothing/like_it"}, "phase": "reqest"}

test_b if input.agent.id == "nobody" with input.agent.id as "nobody"
