"""The tests at other hours than this one: ``make test-clock``."""
