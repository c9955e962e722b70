"""The profiles with FastAPI, and the jobs' page behind the application's own login.

uvicorn fastapi_app:app            # http://127.0.0.1:8000
python -m gifster.jobs run people  # workers
"""

import hmac
import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Form, HTTPException, Request, UploadFile
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from people import SECRET, Person, db, fill
from starlette.middleware.sessions import SessionMiddleware

from gifster.jobs import page
from gifster.uploads import endpoints

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
