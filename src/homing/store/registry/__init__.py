"""The registry as far as every store is alike: what each change does to the rows, and what is asked about them."""
