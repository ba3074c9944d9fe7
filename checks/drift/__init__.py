"""Check that what is deployed fits the code: settings, commands, queues, ports, processes.

Every container of ours in Compose and in each rendering of k8s/ is read as its process would read
it, by Settings, typer and Celery themselves. Nothing is started.
"""
