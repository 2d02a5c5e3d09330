"""The files of deploy/, each held against what will read it, as far as that is here."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml
from serving import free_port, serving

from unibind.service.observing import Metrics
from unibind.settings import ServiceSettings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
HOST = "embed.example.org"

_OF_PROMQL = {"sum", "by", "rate", "increase", "histogram_quantile"}


def expressions() -> list[str]:
    board = json.loads((DEPLOY / "grafana" / "unibind.json").read_text())
    return [target["expr"] for panel in board["panels"] for target in panel["targets"]]


@pytest.mark.parametrize("expression", expressions())
def test_the_dashboard_asks_for_metrics_that_there_are(served, client, expression):
    client.post("/v1/embeddings", json={"input": "counted"})
    exported = client.get("/metrics").text
    families = dict(re.findall(r"# TYPE (\S+) (\S+)", exported))
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\((?:\w+, )*\w+\)|[\d.]+,", " ", expression)
    asked = [word for word in re.findall(r"[a-z_]+", bare) if word not in _OF_PROMQL]
    assert asked, expression
    for name in asked:
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        assert name in families or families.get(family) == "histogram", name
    labels = re.findall(r"by \(([^)]*)\)", expression) + re.findall(r"\{(\w+)=", expression)
    known = set(re.findall(r"(\w+)=\"", exported)) | set(re.findall(r"'(\w+)'", str(_labels())))
    for label in ", ".join(labels).split(", "):
        assert not label or label in known, label


def _labels() -> list:
    metrics = Metrics()
    return [each._labelnames for each in vars(metrics).values() if hasattr(each, "_labelnames")]


def test_the_container_runs_without_root_and_stops_by_sigterm():
    told = (DEPLOY / "Dockerfile").read_text()
    assert told.rindex("USER unibind") > told.rindex("useradd")
    assert "STOPSIGNAL SIGTERM" in told
    for line in re.findall(r"^COPY (?!--from)(.*) \./?\S*$", told, re.MULTILINE):
        for name in line.split():
            assert (ROOT / name).exists(), name
    assert "/readyz" in told


def test_the_compose_file_names_what_there_is():
    told = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    service = told["services"]["unibind"]
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    for name in service["environment"]:
        field = name.removeprefix("UNIBIND_SERVE_").lower()
        assert field in ServiceSettings.model_fields, name
    for each in told["services"].values():
        for volume in each.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), source
            elif not source.startswith("$"):
                assert source in told["volumes"], source
        for needed in each.get("depends_on", ()):
            assert needed in told["services"]
    scrape = yaml.safe_load((DEPLOY / "prometheus.yaml").read_text())["scrape_configs"][0]
    assert scrape["metrics_path"] == "/metrics"
    assert scrape["static_configs"][0]["targets"] == ["unibind:8000"]


@pytest.fixture
def unit(tmp_path) -> Path:
    """The unit, with a program that is here in the place of the one that it starts."""
    told = (DEPLOY / "unibind.service").read_text()
    place = tmp_path / "unibind.service"
    place.write_text(told.replace("/opt/unibind/bin/unibind", sys.executable))
    return place


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_unit_and_finds_it_closed(unit):
    def analyse(*words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["systemd-analyze", *words], capture_output=True, text=True, timeout=60
        )

    verified = analyse("verify", "--man=no", str(unit))
    assert (verified.returncode, verified.stderr) == (0, "")
    secured = analyse("security", "--offline=true", "--threshold=25", "--no-pager", str(unit))
    assert secured.returncode == 0, secured.stdout[-2000:]


def test_the_unit_starts_commands_that_there_are(unit):
    commands = re.findall(r"^ExecStart(?:Pre)?=\S+ (.*)$", unit.read_text(), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "unibind", *command.split(), "--help"],
            capture_output=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, command


@pytest.fixture(scope="module")
def proxied(mini_weights, tmp_path_factory):
    """A server with a key behind nginx with TLS, as deploy/nginx.conf says."""
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        pytest.skip("needs nginx and openssl")
    folder = tmp_path_factory.mktemp("proxied")
    certificate, key = folder / "fullchain.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-days", "2", "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    plain, secure = free_port(), free_port()
    with serving(folder / "served", api_key="k", allowed_hosts=HOST) as served:
        site = (DEPLOY / "nginx.conf").read_text()
        site = site.replace("/etc/ssl/embed.example.org", str(folder))
        site = site.replace("listen 443", f"listen 127.0.0.1:{secure}")
        site = site.replace("listen 80", f"listen 127.0.0.1:{plain}")
        site = site.replace("http://127.0.0.1:8000", served.url)
        whole = (
            f"pid {folder}/nginx.pid; error_log {folder}/error.log; daemon off;\n"
            f"events {{}}\nhttp {{ access_log off; client_body_temp_path {folder}/body;"
            + "".join(f" {kind}_temp_path {folder}/{kind};" for kind in KINDS)
            + f"\n{site}}}\n"
        )
        config = folder / "nginx.conf"
        config.write_text(whole)
        checked = subprocess.run(
            ["nginx", "-t", "-c", str(config), "-p", str(folder)], capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stderr
        nginx = subprocess.Popen(["nginx", "-c", str(config), "-p", str(folder)])
        try:
            _wait_for(secure)
            yield secure, plain, certificate
        finally:
            nginx.terminate()
            nginx.wait(20)


KINDS = ("proxy", "fastcgi", "uwsgi", "scgi")


def _wait_for(port: int) -> None:
    import socket

    ends = time.monotonic() + 20
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nginx does not listen")


@pytest.fixture
def outside(proxied):
    """A client that comes by the name of the host, through TLS."""
    import ssl

    secure, _, certificate = proxied
    context = ssl.create_default_context(cafile=str(certificate))
    headers = {"Authorization": "Bearer k", "Host": HOST}
    with httpx.Client(
        base_url=f"https://127.0.0.1:{secure}", verify=context, headers=headers, timeout=60
    ) as opened:
        yield opened


NAMED = {"sni_hostname": HOST}


def test_the_service_is_reached_through_nginx_and_tls(outside):
    answer = outside.post("/v1/embeddings", json={"input": "a red kettle"}, extensions=NAMED)
    assert answer.status_code == 200
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert "max-age" in answer.headers["strict-transport-security"]
    page = outside.get("/", extensions=NAMED)
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_lines_come_back_through_nginx_and_large_bodies_go_through(outside):
    lines = b"".join(
        json.dumps({"key": f"n{n}", "type": "text", "text": f"{n} " + "x" * 2000}).encode() + b"\n"
        for n in range(20)
    )
    answer = outside.post(
        "/v1/items:batch", content=lines, extensions=NAMED,
        headers={"Content-Type": "application/x-ndjson"},
    )  # fmt: skip
    assert [json.loads(line)["status"] for line in answer.text.splitlines()] == ["stored"] * 20
    large = {"input": {"type": "image", "data": "A" * 8_000_000}}
    assert outside.post("/v1/inspect", json=large, extensions=NAMED).status_code == 400


def test_nginx_asks_for_the_key_and_the_name_and_for_tls(outside, proxied):
    _, plain, _ = proxied
    refused = outside.get("/v1/models", headers={"Authorization": ""}, extensions=NAMED)
    assert refused.status_code == 401
    told = httpx.get(f"http://127.0.0.1:{plain}/v1/models", headers={"Host": HOST})
    assert (told.status_code, told.headers["location"]) == (308, f"https://{HOST}/v1/models")
