"""What else is done to an app that runs."""
