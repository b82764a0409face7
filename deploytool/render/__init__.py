"""AppSpec → text, to be committed, reviewed, and deployed by other tools as well."""
