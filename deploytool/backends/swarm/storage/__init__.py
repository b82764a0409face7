"""What the Swarm keeps for deploytool: records and secrets."""
