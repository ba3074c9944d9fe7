"""Celery: messages that carry ids and start work; what they are about is in Postgres."""
