"""The profiles with FastAPI, and the jobs' page behind the application's own login.

uvicorn fastapi_app:app            # http://127.0.0.1:8000
python -m gifster.jobs run photos  # workers
"""

import hmac
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import peewee
from fastapi import FastAPI, Form, HTTPException, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from people import SECRET, Person, db, fill
from photos import photos
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.sessions import SessionMiddleware

from gifster.jobs import page
from gifster.uploads import StorageUnavailable, UploadError, endpoints

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key=SECRET, same_site="lax")
templates = Jinja2Templates(Path(__file__).parent / "templates")


# Plain functions: FastAPI runs each in a thread, so nothing in them blocks the event loop.
@app.get("/", response_class=HTMLResponse)
def people(request: Request) -> Response:
    with db.connection_context():
        found = list(Person.select().order_by(Person.id))
        return templates.TemplateResponse(request, "people.html", {"people": found})


@app.get("/people/new", response_class=HTMLResponse)
def new(request: Request) -> Response:
    return templates.TemplateResponse(request, "edit.html", {"person": Person(), "problems": []})


@app.get("/people/{person_id}", response_class=HTMLResponse)
def show(request: Request, person_id: int) -> Response:
    with db.connection_context():
        found = {"person": person_of(person_id), "problems": []}
        return templates.TemplateResponse(request, "edit.html", found)


@app.post("/people/{person_id}")
def save(
    request: Request,
    person_id: str,
    name: Annotated[str, Form()] = "",
    avatar_cache: Annotated[str, Form()] = "",
    avatar: UploadFile | None = None,
) -> Response:
    with db.connection_context():
        person = Person() if person_id == "new" else person_of(person_id)
        problems = fill(person, name, avatar_cache, avatar)
        if problems:
            found = {"person": person, "problems": problems}
            return templates.TemplateResponse(request, "edit.html", found, status_code=422)
        person.save()
    return RedirectResponse("/", 303)


def person_of(person_id: int | str) -> Person:
    person = Person.get_or_none(Person.id == int(person_id)) if str(person_id).isdecimal() else None
    if person is None:
        raise HTTPException(404, "There is no such person.")
    return person


app.mount("/files", endpoints.files().asgi)


def problem(
    status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    found = {"status": status, "code": code, "detail": detail}
    return JSONResponse(found, status, headers, media_type="application/problem+json")


@app.exception_handler(UploadError)
def refuse(request: Request, error: UploadError) -> Response:
    return problem(422, error.code, str(error))


@app.exception_handler(StorageUnavailable)
@app.exception_handler(peewee.OperationalError)
@app.exception_handler(peewee.InterfaceError)
def answer_later(request: Request, error: Exception) -> Response:
    logging.getLogger("profiles").error("unavailable: %s", request.url.path, exc_info=error)
    detail = "The server cannot save or read this now. Try again in half a minute."
    return problem(503, "unavailable", detail, {"Retry-After": "30"})


app.include_router(photos)


@app.exception_handler(StarletteHTTPException)
def refuse_request(request: Request, error: StarletteHTTPException) -> Response:
    return problem(error.status_code, "request_refused", error.detail, error.headers)


@app.exception_handler(RequestValidationError)
def refuse_values(request: Request, error: RequestValidationError) -> Response:
    wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    return problem(422, "request_invalid", "; ".join(wrong))


@app.get("/login", response_class=HTMLResponse)
def ask_for_password(request: Request) -> Response:
    return templates.TemplateResponse(request, "login.html")


@app.post("/login")
def login(request: Request, sent: Annotated[str, Form(alias="password")] = "") -> Response:
    password = os.environ.get("PROFILES_PASSWORD", "")
    if not password or not hmac.compare_digest(sent.encode(), password.encode()):
        problem = {"problem": "The password is wrong."}
        return templates.TemplateResponse(request, "login.html", problem, status_code=403)
    request.session["admin"] = True
    return RedirectResponse("/admin/jobs/", 303)


def is_admin(scope: dict[str, Any]) -> bool:
    return scope["session"].get("admin") is True


jobs_page = page.asgi(allow=is_admin, site="Profiles", home_url="/", login_url="/login")
app.mount("/admin/jobs", jobs_page)
