"""Homing: a self-hosted server that brings messages to people and tells the sender about every step."""

__version__ = "0.1.0"
