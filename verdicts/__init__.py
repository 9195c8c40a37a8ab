"""Claims as tests with thresholds: judge them, record them, compare them, show them. Knows nothing
of what they are about."""
