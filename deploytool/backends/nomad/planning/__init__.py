"""What a deploy would change on a Nomad cluster."""
