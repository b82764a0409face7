"""Plans: the changes that a deploy would make."""
