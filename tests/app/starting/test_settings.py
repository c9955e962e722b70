"""Settings: the file, the environment, the profile; and wrong keys and values, which are named."""

import os
from pathlib import Path

import pytest

from gifster.app.boot import connect_broker
from gifster.app.settings import Queue, Settings, SettingsError, load

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str) -> None:
    Path("settings.toml").write_text(text)


def test_the_shipped_file_has_the_default_of_each_key():
    shipped, default = (
        {name: value if isinstance(value, dict) else {"": value} for name, value in dump.items()}
        for dump in (load(ROOT / "settings.toml").model_dump(), Settings().model_dump())
    )
    differ = [
        f"{section}.{key}".rstrip(".")
        for section, values in default.items()
        for key in sorted({*values, *shipped[section]})
        if shipped[section].get(key) != values.get(key)
    ]

    assert not differ, (
        f"{', '.join(differ)}: settings.toml and gifster/app/settings have different values. The "
        "file shows each default. A recurring job of Gifster's own belongs to ALWAYS in "
        "gifster/scheduler.py, and into a comment of the file."
    )
    assert load(Path("none.toml")) == Settings()


def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch):
    write("[web]\nport = 1\nhost = '0.0.0.0'\n[queues]\ndefault = 1\nmail = 2")
    monkeypatch.setenv("GIFSTER_WEB__PORT", "9000")
    monkeypatch.setenv("GIFSTER_QUEUES__DEFAULT", "9")

    settings = load()

    assert (settings.web.port, settings.web.host) == (9000, "0.0.0.0")
    assert settings.queues == {"default": Queue(weight=9), "mail": Queue(weight=2)}


def test_durability_is_the_one_setting_outside_a_section(monkeypatch: pytest.MonkeyPatch):
    write('durability = "os"')
    assert load().durability == "os"

    monkeypatch.setenv("GIFSTER_DURABILITY", "fsync")
    assert load().durability == "fsync"

    monkeypatch.setenv("GIFSTER_DURABILITY__LEVEL", "3")
    with pytest.raises(SettingsError, match="GIFSTER_DURABILITY__LEVEL: no such setting"):
        load()


@pytest.mark.parametrize(
    "text",
    [
        "[auth]\npasswords = false\nproxy_header = 'X-User'\nproxy_addresses = ['10.0.0.0/8']",
        "[auth]\npasswords = false\n[oidc]\nissuer = 'https://a.example'\nclient_id = 'gifster'",
        "[oidc]\nissuer = 'http://localhost:9400'\nclient_id = 'gifster'",
        "[oidc]\nissuer = 'http://127.0.0.1:9400/realm'\nclient_id = 'gifster'",
    ],
)
def test_ways_to_log_in(text: str):
    write(text)

    load()


def test_only_the_development_profile_allows_anonymous_uploads(monkeypatch: pytest.MonkeyPatch):
    assert load(ROOT / "settings.toml").auth.anonymous_uploads is False

    monkeypatch.setenv("GIFSTER_PROFILE", "development")

    assert load(ROOT / "settings.toml").auth.anonymous_uploads is True


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[web]\nprot = 1", "web.prot: no such key"),
        ("[wbe]\nport = 1", "wbe: no such key"),
        ("[web]\nport = 'a'", "web.port: .*integer"),
        ("[web]\nport = 70000", "web.port: .*65535"),
        ("[queues]\ndefault = 0", "queues.default.weight: .*greater than or equal to 1"),
        ("[queues]\ndefault = -3", "queues.default"),
        ("[queues]\n'de fault' = 5", "queues.de fault"),
        ("[queues]\ndefault = 'much'", "queues.default.weight: .*integer"),
        ("[queues]\ndefault = {wieght = 3}", "queues.default.wieght: no such key"),
        ("[queues]\ndefault = {weight = 3, max = 0}", "queues.default.max: .*equal to 1"),
        ("queues = {}", "queues: .*at least 1"),
        ("[broker]\nurl = 'kafka://x'", "broker.url"),
        ("[database]\nurl = 'mysql://x'", "database.url"),
        ("[database]\nurl = 'postgresql://me:100%@host/x'", "a password has %25 for %"),
        ("[database]\nurl = 'postgresql://host/x?hosts=2'", "must be a URL as libpq reads it"),
        ("durability = 'hope'", "durability: .*'fsync' or 'os'"),
        ("[limits]\nupload = 'a lot'", 'limits.upload: .*must be like "10/hour"'),
        ("[web]\ntrusted_proxies = ['proxy']", "web.trusted_proxies"),
        ("[store]\nkind = 'ftp'", "store.kind"),
        ("[store]\nkind = 'fsspec'", "url is '': set url"),
        ("[recurring]\nclean_up = 'hourly'", "recurring.clean_up: .*5 fields"),
        ("[recurring]\nx = {cron = '@daily', zone = 'UTC'}", "recurring.x.zone: no such key"),
        ("[mail]\npassword = 'secret'", "mail.password is a secret: set GIFSTER_MAIL__PASSWORD"),
        ("[oidc]\nclient_secret = 'x'", "set GIFSTER_OIDC__CLIENT_SECRET"),
        ("[oidc]\nissuer = 'http://login.example.org'", "oidc.issuer: must be empty, or the addr"),
        ("[oidc]\nissuer = 'http://localhost.evil.example'", "oidc.issuer: must"),
        ("[oidc]\nissuer = 'https://login.example.org/?a=b'", "oidc.issuer: must"),
        ("[oidc]\nissuer = 'https://login.example.org'", "oidc: issuer is .* client_id is empty"),
        ("[oidc]\nissuer = 'https://a.example'\nclient_id = 'x'\nscopes = []", "'openid'"),
        ("[auth]\npasswords = false", "nobody could log in"),
        ("[auth]\nproxy_header = 'Remote-Email'", "auth: proxy_header is 'Remote-Email'.* both"),
        (
            "[auth]\nproxy_header = 'A'\nproxy_addresses = ['::1']\nadmin_groups = ['ops']",
            "auth: proxy_groups_header is empty.* 'ops'",
        ),
        ("[auth]\nproxy_addresses = ['10.0.0.1']", "set both, or neither"),
        ("[auth]\nproxy_header = 'Remote Email'", "auth.proxy_header: must be empty, or the name"),
        ("[auth]\nadmin_groups = ['a,b']", "auth.admin_groups.*without a comma"),
        ("[web]\nhost = 'localhost'", "web.host: must be an address of this machine"),
        ("[web]\nhost = 'fe80::1%eth0'", "web.host: must be an address of this machine"),
        ("[web]\nbody_stall_s = inf", "web.body_stall_s: must be a finite number"),
        ('[store]\nbucket = "gifs\\r"', "store.bucket: must be UTF-8 without control char"),
        ("[store]\npermissions = '0'", "store: permissions is 0000"),
        ("[cache]\nroot = ''", "cache.root: must name a folder"),
        ("[mail]\nurl = 'file:'", "mail.url: must begin .* go on with a folder"),
        ("[mail]\nsender = 'Gifster'", "mail.sender: must be one address"),
        ("[mail]\nsender = 'Gifs, Inc <a@example.org>'", "with a comma is in quotation marks"),
        ("[retention]\ndead_jobs = 99999999999999999999", "retention.dead_jobs: .*less than"),
        ("[web", "settings.toml: "),
        ("web = 3", r"web: must be a table .settings.toml has 3"),
        ("profile = 3", "profile: must be tables"),
    ],
)
def test_wrong_keys_and_values_of_the_file_are_named(text: str, message: str):
    write(text)

    with pytest.raises(SettingsError, match=message):
        load()


def test_settings_nested_too_deep_are_refused():
    write("a = " + "[" * 5000)

    with pytest.raises(SettingsError, match="not TOML"):
        load()


def test_several_servers_of_rabbitmq_are_one_url(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIFSTER_BROKER__URL", "amqp://a:5672;amqp://b:5673")

    assert load().broker.url == "amqp://a:5672;amqp://b:5673"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GIFSTER_WEB__PORT", "many", "web.port"),
        ("GIFSTER_BROKER__URL", "redis://[::1", "broker.url: must be a URL"),
        ("GIFSTER_BROKER__URL", "redis://h:99999/0", "broker.url: must be a URL"),
        ("GIFSTER_BROKER__URL", "redis://u:pa/ss@h", r"%2F for / .*has 'redis://u:…@h'"),
        ("GIFSTER_BROKER__URL", "amqp://a:5672;amqp://b:x", "broker.url: must be a URL"),
        ("GIFSTER_MAIL__URL", "smtp://h:99999", "mail.url: must be a URL"),
        ("GIFSTER_STORE__ENDPOINT_URL", "http://[", "store.endpoint_url: must be a URL"),
        ("GIFSTER_DATABASE__URL", "sqlite:///", "database.url: must name a file"),
        ("GIFSTER_DATABASE__URL", "sqlite://", "database.url: must name a file"),
        ("GIFSTER_DATABASE__URL", "sqlite://var/gifster.db", "a file after three slashes"),
        ("GIFSTER_DATABASE__URL", "sqlite:///var/gifs#1.db", "%23 is #"),
        ("GIFSTER_UPLOADS__SECRET", "changeme", "uploads.secret: must have 16 characters"),
        ("GIFSTER_MAIL__PASSWORD", "p\udce4", "mail.password: must be UTF-8"),
        ("GIFSTER_WEB__PROT", "1", "web.prot: no such key"),
        ("GIFSTER_WBE__PORT", "1", "GIFSTER_WBE__PORT: no such setting"),
        ("GIFSTER_PORT", "1", "GIFSTER_PORT: no such setting"),
        ("GIFSTER_WEB__TRUSTED_PROXIES", "127.0.0.1", "GIFSTER_WEB__TRUSTED_PROXIES: .*JSON"),
        ("GIFSTER_WEB__TRUSTED_PROXIES", "[127.0.0.1]", "GIFSTER_WEB__TRUSTED_PROXIES: .*JSON"),
        ("GIFSTER_WEB__HOSTS", "old.example.org", "GIFSTER_WEB__HOSTS: .*JSON"),
        ("GIFSTER_WEB__PORT", "many", "must be a valid integer .GIFSTER_WEB__PORT has 'many'"),
        ("GIFSTER_QUEUES__DEFAULT", '{"weight": 0}', "GIFSTER_QUEUES__DEFAULT__WEIGHT has 0"),
        ("GIFSTER_WEB__PROT", "1", "did you mean web.port. .GIFSTER_WEB__PROT"),
        ("GIFSTER_PROFILE", "productoin", "there is no such profile .known: development"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
):
    monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=message):
        load()


def test_settings_do_not_change():
    with pytest.raises(ValueError, match="frozen"):
        load().web.port = 1
    assert "GIFSTER_WEB__PORT" not in os.environ


def test_the_namespace_is_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, booted: Settings
):
    monkeypatch.setenv("GIFSTER_BROKER__NAMESPACE", "mine")
    assert connect_broker(load()).namespace == "mine"

    monkeypatch.setenv("GIFSTER_BROKER__URL", "amqp://host")
    with pytest.raises(SettingsError, match=r"broker: .*virtual host"):
        load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[database]\nurl = 'mysql://me:hush@host/x'", "settings.toml has 'mysql://me:…@host/x'"),
        ("[limits]\nupload = 'a lot'", 'limits.upload: must be like "10/hour"'),
        ("[store]\nkind = 's3'\nacl = 'hush'", 'store: kind is "s3", and no bucket is set'),
        ("[web]\nmetrics_token = 'hush'", "web.metrics_token: must be 16 to 200"),
        ("[search]\nkeys = ['hush hush']", "search.keys.0: must be 1 to 200"),
        ("[broker]\nurl = 'me:hush@host:6379'", "settings.toml has 'me:…@host:6379'"),
        ("[mail]\nurl = 'smtp:/me:hush@host'", "settings.toml has 'smtp:…@host'"),
        ("[database]\nurl = 'postgresql://host/x?password=hush&a=1'", "?password=…&a=1'"),
        ("[database]\nurl = 'host=db password=hush'", "has 'host=db password=…'"),
    ],
)
def test_an_error_is_in_our_own_words_and_shows_no_password(text: str, message: str):
    write(text)

    with pytest.raises(SettingsError) as caught:
        load()

    assert message in str(caught.value)
    assert "hush" not in str(caught.value)
    assert "Value error" not in str(caught.value)


@pytest.mark.parametrize(
    "sender",
    [
        "a@example.org",
        "Gifs (all) <a@example.org>",
        '"Gifs, Inc" <a@example.org>',
        r'"The \"GIF\" library" <a@example.org>',
    ],
)
def test_senders(sender: str):
    write(f"[mail]\nsender = '{sender}'")

    assert load().mail.sender == sender


def test_lists_and_tables_come_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch):
    write("[queues]\ndefault = {weight = 3, max = 2}")
    monkeypatch.setenv("GIFSTER_WEB__HOSTS", '["a.example.org"]')
    monkeypatch.setenv("GIFSTER_QUEUES__DEFAULT__MAX", "1")
    monkeypatch.setenv("GIFSTER_QUEUES__MAIL", '{"weight": 2}')
    monkeypatch.setenv("GIFSTER_RECURRING__CLEAN_UP", "17 * * * *")
    monkeypatch.setenv("GIFSTER_STORE__BUCKET", "123")

    settings = load()

    assert settings.web.hosts == ["a.example.org"]
    assert settings.queues == {"default": Queue(weight=3, max=1), "mail": Queue(weight=2)}
    assert settings.recurring["clean_up"].cron == "17 * * * *"
    assert settings.store.bucket == "123"
