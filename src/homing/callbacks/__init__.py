"""Callbacks to customers: where they may go, what is sent, what an answer means, when to try again, and the lanes."""
