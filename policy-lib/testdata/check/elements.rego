package lictor.u

deny contains {"id": "Not an id", "mesage": "x"} if input.phase == "request"

deny contains {"message": "no id"} if input.phase == "request"

obligations contains {"id": "o", "type": "maks"} if input.phase == "response"

limits contains {"id": "files.once", "unit": "calls"} if input.phase == "request"

# Members that are made cannot be told.
deny contains object.union({"message": "x"}, {"id": "y"}) if input.phase == "request"

deny contains {name: "x"} if some name in ["id"]
