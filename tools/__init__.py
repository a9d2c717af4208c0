"""What the Makefile runs: preparation, tests, demonstration, measurement."""
