WORD = "later"
