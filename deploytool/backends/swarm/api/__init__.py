"""The engine's API: the client, the connection, and what it says."""
