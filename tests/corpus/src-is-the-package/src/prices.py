WHAT = "prices"
