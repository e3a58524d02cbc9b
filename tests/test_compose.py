"""docs/compose.yaml: what can be held without a container engine."""

import json
import re
from pathlib import Path

import pytest
import yaml

DOCS = Path(__file__).parents[1] / "docs"
TEXT = (DOCS / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_of_the_loopback_alone(name):
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


def test_no_password_has_a_default():
    secrets = re.findall(r"(?:PASSWORD|SECRET_ACCESS_KEY): (.*)", TEXT) + re.findall(
        r"//waveband:(.*?)@", TEXT
    )
    assert len(secrets) >= 5
    for secret in secrets:
        assert re.match(r"\$\{WAVEBAND_PASSWORD:\?set ", secret)


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_is_there(name):
    waits = SERVICES[name].get("depends_on", {})
    assert set(waits) <= set(SERVICES)
    for other, how in waits.items() if isinstance(waits, dict) else []:
        healthy = how["condition"] == "service_healthy"
        assert healthy == ("healthcheck" in SERVICES[other])


def test_addresses_lead_to_services_and_their_ports():
    told = re.findall(r"(?:://|@)([a-z]+):(\d+)", json.dumps(SERVICES))
    assert {host for host, _ in told} == {"store", "postgres", "prefect", "mlflow"}
    for host, port in told:
        assert any(published.endswith(f":{port}") for published in SERVICES[host]["ports"]), (host, port)


def test_named_volumes_and_configs_are_declared():
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            name = volume.partition(":")[0]
            assert name.startswith("$") or name in COMPOSE["volumes"]
        for config in service.get("configs", []):
            assert config["source"] in COMPOSE["configs"]


def test_telemetry_is_off_in_all_that_is_waveband():
    for service in SERVICES.values():
        if service["image"] == "waveband" and "environment" in service:
            assert service["environment"]["DO_NOT_TRACK"] == "1"
            assert service["environment"]["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_the_page_speaks_of_the_addresses_that_the_file_has():
    page = (DOCS / "scale.md").read_text()
    for address in ("postgresql+asyncpg://", "postgresql+psycopg2://", "--artifacts-destination"):
        assert address in TEXT
        assert address in page


def test_the_image_has_what_is_deployed_in_it():
    dockerfile = COMPOSE["x-waveband"]["build"]["dockerfile_inline"]
    copied = re.findall(r"^COPY (.*) \S+$", dockerfile, re.M)
    there = {name for line in copied for name in line.split()}
    assert there >= {"flows", "tasks", "wavenet", "configs", "prefect.yaml", "prefect.toml", "pyproject.toml"}
