"""Django, under gunicorn: jobs use models, and leave no connection open.

Django closes its database connections at the end of a request; a job is none. ``with_models`` does
it for jobs, so that threads which wait for work hold no connection.

    python django_site.py
    gunicorn --config gunicorn_conf.py django_site:app
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import django
import scheduling
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, connections, models
from django.http import HttpRequest, JsonResponse
from django.urls import path

import kalends
from kalends import every

P = ParamSpec("P")
T = TypeVar("T")

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db"}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    ROOT_URLCONF=__name__,
    SECRET_KEY="only for this example",
)
django.setup()


class Visit(models.Model):
    """Somebody was here."""

    text = models.TextField()

    class Meta:
        app_label = "site"


def with_models(job: Callable[P, T]) -> Callable[P, T]:
    """Decorate a job that uses models."""

    @functools.wraps(job)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return job(*args, **kwargs)
        finally:
            connections.close_all()

    return wrapper


@kalends.job("count_visits")
@with_models
def count_visits() -> int:
    """Ask the site's own database."""
    visits: int = Visit.objects.count()
    return visits


def index(_: HttpRequest) -> JsonResponse:
    """What has run, and what the job has counted last."""
    scheduler = scheduling.scheduler
    visits = scheduler.schedule_event(
        "count_visits", every(seconds=0.1), name="visits", on_conflict="keep"
    )
    counted = scheduler.list_executions(event_id=visits.id, fate="succeeded", limit=1).items
    return JsonResponse(
        {
            "pid": os.getpid(),
            "ran": scheduler.count_executions(fate="succeeded"),
            "visits": counted[0].result if counted else 0,
        }
    )


def remind(request: HttpRequest) -> JsonResponse:
    """Schedule a reminder, and remember the visit."""
    text = request.GET["text"]
    Visit.objects.create(text=text)
    return JsonResponse({"event": scheduling.remind_soon(text).id})


urlpatterns = [path("", index), path("remind", remind)]
app = get_wsgi_application()

if __name__ == "__main__":
    with connection.schema_editor() as editor:
        editor.create_model(Visit)
