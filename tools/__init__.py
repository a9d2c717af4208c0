"""What the Makefile runs: preparation, tests, demonstration and tour, measurement."""
