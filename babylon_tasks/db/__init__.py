"""The only importer of psycopg; every statement lives in ``queries/*.sql``."""
