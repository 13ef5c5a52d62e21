"""The processes that deliver: Celery's workers and the scheduler."""
