GREETING = "not installed"
