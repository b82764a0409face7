"""A plan that is being carried out."""
