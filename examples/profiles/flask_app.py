"""The profiles with Flask, and the jobs' page behind the application's own login.

flask --app flask_app run          # http://127.0.0.1:5000
python -m gifster.jobs run people  # workers
"""

import hmac
import os
from typing import Any

import peewee
from flask import Flask, redirect, render_template, request, session
from people import SECRET, Person, db, fill
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from gifster.jobs import page
from gifster.uploads import StorageUnavailable, UploadError, endpoints

app = Flask(__name__)
app.secret_key = SECRET
app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
app.config["MAX_CONTENT_LENGTH"] = 6 * 1024 * 1024  # refused before it is read


@app.before_request
def connect() -> None:
    db.connect(reuse_if_open=True)


@app.teardown_request
def close(error: BaseException | None) -> None:
    if not db.is_closed():
        db.close()


@app.get("/")
def people() -> str:
    return render_template("people.html", people=Person.select().order_by(Person.id))


@app.route("/people/new", methods=["GET", "POST"])
def new() -> Any:
    return edit(Person())


@app.route("/people/<int:person_id>", methods=["GET", "POST"])
def change(person_id: int) -> Any:
    person = Person.get_or_none(Person.id == person_id)
    return edit(person) if person else ("There is no such person.", 404)


def edit(person: Person) -> Any:
    problems: list[str] = []
    if request.method == "POST":
        form = request.form
        problems = fill(
            person,
            form.get("name", ""),
            form.get("avatar_cache", ""),
            request.files.get("avatar"),
        )
        if not problems:
            person.save()
            return redirect("/", 303)
    status = 422 if problems else 200
    return render_template("edit.html", person=person, problems=problems), status


def problem(status: int, code: str, detail: str) -> Any:
    found = {"status": status, "code": code, "detail": detail}
    return found, status, {"Content-Type": "application/problem+json"}


@app.errorhandler(UploadError)
def refuse(error: UploadError) -> Any:
    return problem(422, error.code, str(error))


@app.errorhandler(StorageUnavailable)
@app.errorhandler(peewee.OperationalError)
@app.errorhandler(peewee.InterfaceError)
def answer_later(error: Exception) -> Any:
    app.logger.error("unavailable: %s", request.path, exc_info=error)
    detail = "The server cannot save or read this now. Try again in half a minute."
    content, status, headers = problem(503, "unavailable", detail)
    return content, status, headers | {"Retry-After": "30"}


stored_files = endpoints.files().wsgi
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/files": stored_files})  # type: ignore[method-assign]


@app.route("/login", methods=["GET", "POST"])
def login() -> Any:
    if request.method == "GET":
        return render_template("login.html")
    password = os.environ.get("PROFILES_PASSWORD", "")
    sent = request.form.get("password", "")
    if not password or not hmac.compare_digest(sent.encode(), password.encode()):
        return render_template("login.html", problem="The password is wrong."), 403
    session["admin"] = True
    return redirect("/admin/jobs/", 303)


def is_admin(environ: dict[str, Any]) -> bool:
    with app.request_context(environ):
        return session.get("admin") is True


jobs_page = page.wsgi(allow=is_admin, site="Profiles", home_url="/", login_url="/login")
app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/admin/jobs": jobs_page})  # type: ignore[method-assign]
