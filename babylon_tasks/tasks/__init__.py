"""Celery: messages that carry ids and wake somebody up; what they mean is rows in Postgres."""
