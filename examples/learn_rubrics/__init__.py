"""Two rubric sets learned from labelled pairs made by program, and held against what learning must be worth."""
