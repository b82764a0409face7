"""What a deploy would change."""
