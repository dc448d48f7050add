"""Checks a prepared copy of deploy/: compose file, EMQX, image, chart, dashboard;
then further folders rendered for EMQX."""

import json
import re
import sys
import tomllib
from pathlib import Path

import compose_spec
import emqx
import helm_python as helm
import kubernetes_validate
import yaml

FOLDER = Path(sys.argv[1])
DEFAULTS = tomllib.loads(Path(sys.argv[2]).read_text())
ENV = {"SITE_DOMAIN": "strips.example.org", "TIME_ZONE": "Asia/Shanghai"}
# Ends by itself, and is as healthy as its exit status.
RUN_ONCE = {"database-role"}
# The image says how to ask.
ASKED_BY_IMAGE = {"dormouse-1", "dormouse-2"}
KUBERNETES = "1.29"
findings = []
checks = 0


def check(holds, finding):
    global checks
    checks += 1
    if not holds:
        findings.append(finding)


def pinned(image):
    """Whether an image is named with a digest or a version's number."""
    return "@sha256:" in image or re.search(r":v?\d+\.\d+(\.\d+)?([-\w.]*)$", image) is not None


def check_settings(text, where):
    for section, keys in tomllib.loads(text).items():
        known = DEFAULTS.get(section, {})
        for key in keys:
            check(key in known, f"{where}: there is no setting {section}.{key}")


def interpolated(text, env):
    """The compose file with its variables filled in, or what is missing."""

    def value(match):
        name, rule, rest = match.groups()
        if env.get(name):
            return env[name]
        if rule == ":-":
            return rest
        raise KeyError(rest if rule == ":?" else name)

    return re.sub(r"(?<!\$)\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", value, text)


def check_compose():
    text = (FOLDER / "compose.yaml").read_text()
    for name in ENV:
        try:
            interpolated(text, {k: v for k, v in ENV.items() if k != name})
            check(False, f"compose.yaml starts without {name}")
        except KeyError as missing:
            check(f"set {name} in .env" in missing.args[0], f"compose.yaml: no help where {name} is missing")
    compose = yaml.safe_load(interpolated(text, ENV))
    compose_spec.PyCompose.from_yaml(yaml.safe_dump(compose))
    for kind in ("secrets", "configs"):
        for name, entry in compose[kind].items():
            check((FOLDER / entry["file"]).is_file(), f"compose.yaml: {kind} {name}: {entry['file']} is not made")
    for name, service in compose["services"].items():
        check_service(name, service, compose)
    emqx.check_compose(FOLDER, compose, check)
    check_settings((FOLDER / "dormouse.toml").read_text(), "dormouse.toml")
    settings = tomllib.loads((FOLDER / "dormouse.toml").read_text())
    for section, keys in settings.items():
        for key, path in keys.items():
            if key.endswith("_file"):
                mounted = {f"/run/secrets/{it}" for it in compose["services"]["dormouse-1"]["secrets"]}
                mounted |= {it["target"] for it in compose["services"]["dormouse-1"]["configs"]}
                check(path in mounted, f"dormouse.toml: {section}.{key}: {path} is not mounted")


def check_service(name, service, compose):
    where = f"compose.yaml: {name}"
    check(pinned(service["image"]), f"{where}: {service['image']} is not pinned")
    if name not in RUN_ONCE:
        check("healthcheck" in service or name in ASKED_BY_IMAGE, f"{where}: no health check")
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        check({"cpus", "memory"} <= limits.keys(), f"{where}: no limits")
        check(service.get("restart") == "unless-stopped", f"{where}: does not come back")
    check("privileged" not in service, f"{where}: privileged")
    for key, value in (service.get("environment") or {}).items():
        secret = re.search(r"PASSWORD|SECRET|TOKEN|COOKIE", key)
        check(not secret or str(value).startswith("/run/secrets/"), f"{where}: {key} is no file")
    for mount in service.get("volumes", []):
        source = mount.split(":")[0]
        exists = (FOLDER / source).exists() if source.startswith(".") else source in compose["volumes"]
        check(exists, f"{where}: {source} is not there")
    for kind in ("secrets", "configs"):
        for entry in service.get(kind, []):
            entry = entry if isinstance(entry, str) else entry["source"]
            check(entry in compose[kind], f"{where}: no {kind} {entry}")
    for other, how in service.get("depends_on", {}).items():
        waited = compose["services"][other]
        check(how["condition"] != "service_healthy" or "healthcheck" in waited or other in ASKED_BY_IMAGE,
              f"{where}: waits for the health of {other}, which has none")
    for port in service.get("ports", []):
        public = {"8883", "80", "443"}
        host = port.rsplit(":", 1)[0]
        check(host.startswith("127.0.0.1:") or host in public, f"{where}: {port} is open to all")


def check_image():
    text = (FOLDER / "Dockerfile").read_text()
    stages = {"scratch"}
    for image, stage in re.findall(r"^FROM (\S+)(?: AS (\S+))?", text, re.M):
        check(image in stages or pinned(image), f"Dockerfile: {image} is not pinned")
        stages.add(stage)
    user = re.findall(r"^USER (\d+)", text, re.M)
    check(user and user[-1] != "0", "Dockerfile: runs as root")
    check("\nHEALTHCHECK " in text, "Dockerfile: no health check")


def check_chart():
    path = str(FOLDER / "helm/dormouse")
    least = {
        "settings": {
            "site": {"time_zone": "Asia/Shanghai"},
            "broker": {"url": "mqtts://emqx:8883"},
            "hot": {"url": "redis://redis:6379"},
            "database": {"url": "postgres://dormouse@db:5432/dormouse?sslmode=verify-full"},
        }
    }
    secret = {"name": "site", "key": "it"}
    most = least | {
        "replicas": 5,
        "image": {"digest": "sha256:" + 64 * "0"},
        "secrets": {it: secret for it in ("brokerPassword", "hotPassword", "databasePassword", "emqxApiSecret")},
        "ca": {"configMap": "ca"},
        "journal": {"storageClass": "fast"},
        "antiAffinity": "required",
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "podAnnotations": {"a": "b"},
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "high",
        "ingress": {"enabled": True, "host": "strips.example.org", "tlsSecret": "tls", "className": "nginx"},
        "networkPolicy": {"from": [{"podSelector": {}}], "to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
        "serviceMonitor": {"enabled": True, "labels": {"a": "b"}, "tokenSecret": secret},
    }
    most["settings"] = least["settings"] | {"journal": {"size_mib": 256}}
    with helm.Chart.load(path) as chart:
        for values in (least, most):
            chart.validate_schema(chart.merge_values(values))
            render(chart, values)
        refused = [{}, least | {"settings": least["settings"] | {"database": {"url": "sqlite:"}}},
                   least | {"settings": least["settings"] | {"database": {"url": "postgres://a:secret@db/d"}}}]
        for values in refused:
            try:
                chart.validate_schema(chart.merge_values(values))
                check(False, f"the chart takes {values}")
            except helm.HelmError:
                check(True, "")


def render(chart, values):
    kinds = {}
    for name, text in chart.render(values, name="site", namespace="strips").items():
        if not name.endswith(".yaml"):
            continue
        for document in yaml.safe_load_all(text):
            if document is None:
                continue
            kinds[document["kind"]] = document
            # Of an operator, whose schemas are its own.
            if document["kind"] != "ServiceMonitor":
                kubernetes_validate.validate(document, KUBERNETES, strict=True)
    check_settings(kinds["ConfigMap"]["data"]["dormouse.toml"], "chart")
    pod = kinds["StatefulSet"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    check(pinned(container["image"]), f"chart: {container['image']} is not pinned")
    mounted = {it["name"] for it in container["volumeMounts"]}
    volumes = {it["name"] for it in pod["volumes"]} | {"journal"}
    check(mounted == volumes, f"chart: volumes {volumes ^ mounted}")
    check(("Ingress" in kinds) == values.get("ingress", {}).get("enabled", False), "chart: ingress")


def check_dashboard():
    source = yaml.safe_load((FOLDER / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    uids = {it["uid"] for it in source["datasources"]}
    for path in (FOLDER / "grafana/dashboards").glob("*.json"):
        board = json.loads(path.read_text())
        ids = [it["id"] for it in board["panels"]]
        check(len(ids) == len(set(ids)), f"{path.name}: two panels of one id")
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                check(target["datasource"]["uid"] in uids, f"{path.name}: {panel['title']}: no such source")
        places = [tuple(it["gridPos"][k] for k in "xy") for it in board["panels"]]
        check(len(places) == len(set(places)), f"{path.name}: panels on top of each other")


check_compose()
emqx.check_self(check)
for folder in sys.argv[3:]:
    emqx.check_folder(Path(folder), check)
check_image()
check_chart()
check_dashboard()
for finding in findings:
    print(f"deploy: {finding}", file=sys.stderr)
print(f"{checks - len(findings)} passed, {len(findings)} failed")
sys.exit(1 if findings else 0)
