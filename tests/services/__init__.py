"""Tests against real OpenStack services in a container; see conftest.py for what a test gets."""
