"""What Homing does per second, and what that costs: the programme behind `make bench` (docs/performance.md)."""
