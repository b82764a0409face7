"""What deploytool keeps on a Nomad cluster: in variables."""
