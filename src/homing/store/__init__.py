"""What has happened, durably: the port, and the stores behind it."""
