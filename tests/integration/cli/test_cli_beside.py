"""A command beside ``wrapup up`` works on its servers, and on no others."""

from __future__ import annotations

from app.cli.beside import environment, settings_for
from app.embedded.servers import Servers


def _running(data_dir, database_url="postgresql://up@h/d", key="k" * 43 + "="):
    data_dir.mkdir(exist_ok=True)
    Servers(database_url, "redis://up", "http://127.0.0.1:1").write(data_dir)
    if key:
        (data_dir / "secret.key").write_text(key + "\n")


async def test_a_command_finds_the_servers_of_its_data_dir(bare, variables):
    _running(bare.folder / "d", variables["WRAPUP_DATABASE_URL"], variables["WRAPUP_SECRET_KEYS"])
    assert (await bare("accounts", "list", "--json", "--data-dir", "d")).status == 0
    assert (await bare("accounts", "list", "--json", WRAPUP_DATA_DIR="d")).status == 0


def test_what_the_environment_says_goes_first(tmp_path, monkeypatch):
    _running(tmp_path)
    monkeypatch.setenv("WRAPUP_BROKER_URL", "redis://mine")
    settings = settings_for(tmp_path)
    assert settings.require_database_url() == "postgresql://up@h/d"
    assert settings.require_broker_url() == "redis://mine"
    assert settings.require_secret_keys() == ["k" * 43 + "="]


def test_a_database_of_another_installation_is_never_used_with_the_key_of_this_one(tmp_path, monkeypatch):
    _running(tmp_path)
    monkeypatch.setenv("WRAPUP_DATABASE_URL", "postgresql://other@h/d")
    settings = settings_for(tmp_path)
    assert settings.require_database_url() == "postgresql://other@h/d"
    assert settings.broker_url is None
    assert settings.secret_keys is None


def test_a_key_is_never_made_here(tmp_path):
    _running(tmp_path, key="")
    assert settings_for(tmp_path).secret_keys is None
    assert [file.name for file in tmp_path.iterdir()] == ["servers.json"]


def test_another_process_gets_the_same_settings_by_its_environment(tmp_path, monkeypatch):
    _running(tmp_path)
    for name, value in environment(settings_for(tmp_path)).items():
        monkeypatch.setenv(name, value)
    assert settings_for(None) == settings_for(tmp_path)
