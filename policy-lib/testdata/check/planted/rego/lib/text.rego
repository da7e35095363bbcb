package lib.text

is_city(name) if upper_case(name) == name
