"""What may happen to one dispatch: pure tables and functions; no I/O, clock, randomness or logging in here."""
