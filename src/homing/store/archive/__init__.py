"""The archive as far as every store is alike: what is asked about messages, and how rows become views."""
