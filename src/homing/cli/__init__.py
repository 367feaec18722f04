"""The command line: arguments → one call → a renderer. No logic of its own: what a verb can do, the API can."""
