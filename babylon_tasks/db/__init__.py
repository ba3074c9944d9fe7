"""The only importer of psycopg; every statement is in ``queries/*.sql``."""
