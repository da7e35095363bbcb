package lictor.u

test_a if upper_case("a") == "A"

test_b if rand.intn("x", 3) == 1
