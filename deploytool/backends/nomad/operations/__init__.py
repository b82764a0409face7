"""What is done to apps on Nomad, beside rollouts."""
