"""Checks what `dormouse broker emqx render` writes, as EMQX 5.8 will read it."""

import csv
import datetime
import re
from pathlib import Path

import pyhocon
import yaml

SCHEMA = yaml.safe_load((Path(__file__).parent / "emqx-5.8.yaml").read_text())
DURATION = re.compile(r"(\d+(\.\d+)?(ms|s|m|h|d|w))+", re.I)
LEVELS = "debug|info|notice|warning|error|critical|alert|emergency"
# Where Compose puts the files.
ETC = "/opt/emqx/etc/dormouse"


def has_kind(kind, value):
    """Whether EMQX takes `value` for a setting of this kind."""
    if "|" in kind:
        return any(has_kind(it, value) for it in kind.split("|"))
    text = isinstance(value, str)
    kinds = {
        "bool": lambda: isinstance(value, bool),
        "int": lambda: isinstance(value, int) and not isinstance(value, bool),
        "string": lambda: text,
        "path": lambda: text and value.startswith("/"),
        "node": lambda: text and re.fullmatch(r"[^@\s]+@[^@\s]+", value),
        # The parser has read some already.
        "duration": lambda: isinstance(value, datetime.timedelta) or text and DURATION.fullmatch(value),
        "bytes": lambda: isinstance(value, int) or text and re.fullmatch(r"\d+(b|kb|mb|gb)", value, re.I),
        "rate": lambda: text and re.fullmatch(r"infinity|\d+((k|m|g)?b)?/(\d*(s|m|h|d))", value, re.I),
        "address": lambda: isinstance(value, int) or text and re.fullmatch(r"\S*:\d+", value),
        "level": lambda: value in LEVELS.split("|"),
    }
    return bool(kinds.get(kind, lambda: value == kind)())


def faults(schema, value, where):
    """What EMQX would not take in `value`."""
    if isinstance(schema, str):
        return [] if has_kind(schema, value) else [f"{where} = {value!r}: not {schema}"]
    if isinstance(schema, list):
        if not isinstance(value, list):
            return [f"{where}: not a list"]
        return [it for n, each in enumerate(value) for it in faults(schema[0], each, f"{where}[{n}]")]
    if "by" in schema:
        found = [] if isinstance(value, list) else [f"{where}: not a list"]
        for n, each in enumerate(value if isinstance(value, list) else []):
            which = schema.get(each.get(schema["by"]))
            at = f"{where}[{n}]"
            found += [f"{at}: unknown {schema['by']}"] if which is None else faults(which, each, at)
        return found
    if not isinstance(value, dict):
        return [f"{where}: not a group of settings"]
    found = []
    for key, each in value.items():
        below = schema.get(key, schema.get("name:"))
        at = f"{where}.{key}".lstrip(".")
        found += [f"{at}: EMQX 5.8 has no such setting"] if below is None else faults(below, each, at)
    return found


def conf_faults(text):
    """What EMQX would not take in an emqx.conf, and its settings."""
    conf = pyhocon.ConfigFactory.parse_string(text, resolve=False).as_plain_ordered_dict()
    known = {key: below for key, below in SCHEMA.items() if not key.startswith("_")}
    return faults(known, conf, ""), conf


TOKEN = re.compile(r'\s+|%[^\n]*|(?P<text>"(?:[^"\\]|\\.)*")|(?P<atom>[a-z][A-Za-z0-9_@]*)|(?P<int>\d+)|(?P<mark>[{}\[\],.])')


def terms(text):
    """Erlang's terms in `text`, as tuples, lists and texts; an atom is ('atom', its name)."""
    tokens, at = [], 0
    while at < len(text):
        found = TOKEN.match(text, at)
        if not found:
            raise ValueError(f"no Erlang at {text[at:at + 20]!r}")
        at = found.end()
        if found.lastgroup:
            tokens.append((found.lastgroup, found.group()))
    tokens.reverse()

    def take(mark):
        if not tokens or tokens.pop() != ("mark", mark):
            raise ValueError(f"{mark!r} is missing")

    def term():
        kind, token = tokens.pop() if tokens else ("end", "")
        if kind == "text":
            return token[1:-1]
        if kind == "int":
            return int(token)
        if kind == "atom":
            return ("atom", token)
        close = {"{": "}", "[": "]"}.get(token)
        if close is None:
            raise ValueError(f"{token!r} begins no term")
        inner = []
        while not tokens or tokens[-1] != ("mark", close):
            if inner:
                take(",")
            inner.append(term())
        take(close)
        return ("tuple", *inner) if close == "}" else inner

    found = []
    while tokens:
        found.append(term())
        take(".")
    return found


def atom(term, *names):
    return isinstance(term, tuple) and term[0] == "atom" and term[1] in names


def acl_faults(text):
    """What EMQX would not take in an acl.conf: one such rule and it does not start."""
    try:
        rules = terms(text)
    except ValueError as error:
        return [f"acl.conf: {error}"]
    found = [f"acl.conf: rule {n}" for n, rule in enumerate(rules, 1) if not is_rule(rule)]
    if not rules or rules[-1] != ("tuple", ("atom", "deny"), ("atom", "all")):
        found.append("acl.conf: does not end by denying all")
    return found


def is_rule(rule):
    if not isinstance(rule, tuple) or rule[0] != "tuple" or not atom(rule[1], "allow", "deny"):
        return False
    if len(rule) == 3:
        return atom(rule[2], "all")
    if len(rule) != 5:
        return False
    _, _, who, action, topics = rule
    return is_subject(who) and is_action(action) and isinstance(topics, list) and all(isinstance(it, str) for it in topics)


def is_subject(who):
    if atom(who, "all"):
        return True
    if who[0] != "tuple" or len(who) != 3 or not atom(who[1], "username", "clientid", "ipaddr"):
        return False
    name = who[2]
    if isinstance(name, tuple):
        re.compile(name[2])
        return name[0] == "tuple" and len(name) == 3 and atom(name[1], "re")
    return isinstance(name, str)


def is_action(action):
    if atom(action, "publish", "subscribe", "all"):
        return True
    if action[0] != "tuple" or len(action) != 3 or not atom(action[1], "publish", "subscribe", "all"):
        return False
    return all(it[0] == "tuple" and atom(it[1], "qos", "retain") for it in action[2])


def check_folder(folder, check):
    """A rendered folder: its emqx.conf, and the files that this names."""
    text = (folder / "emqx.conf").read_text()
    found, conf = conf_faults(text)
    for fault in found + acl_faults((folder / "acl.conf").read_text()):
        check(False, f"{folder.name}: {fault}")
    check(True, "")
    for name in re.findall(rf'"{ETC}/([^"]+)"', text):
        if name not in ("database-ca.pem", "client-ca.pem"):
            check((folder / name).is_file() or name.startswith("server."), f"{folder.name}: emqx.conf names {name}, which is not there")
    password = conf["dashboard"]["default_password"]
    mixed = sum(bool(re.search(it, password)) for it in ("[0-9]", "[A-Za-z]", "[^A-Za-z0-9]")) > 1
    check(mixed and 8 <= len(password) <= 64, f"{folder.name}: EMQX does not take the dashboard's password")
    users = list(csv.reader((folder / "users.csv").read_text().splitlines()))
    check(users[0] == ["user_id", "password", "is_superuser"] and len(users) == 3
          and all(len(it) == 3 and it[2] == "false" for it in users[1:]), f"{folder.name}: users.csv")
    keys = (folder / "api_keys.txt").read_text().splitlines()
    check([it.split(":")[::2] for it in keys] == [["dormouse", "administrator"]], f"{folder.name}: api_keys.txt")
    return conf


def check_compose(folder, compose, check):
    """Whether what the container reads is there, and for its user."""
    service = compose["services"]["emqx"]
    mounts = dict(it.split(":")[1::-1] for it in service["volumes"])
    check(mounts.get(f"{ETC}") == "./run/emqx", "compose.yaml: emqx: its files are not mounted")
    check(mounts.get("/opt/emqx/etc/emqx.conf") == "./run/emqx/emqx.conf", "compose.yaml: emqx: emqx.conf is not mounted")
    check("/opt/emqx/data" in mounts, "compose.yaml: emqx: its data does not outlive it")
    conf = check_folder(folder / "run/emqx", check)
    for path in (folder / "run/emqx").iterdir():
        if path.is_file():
            check(path.stat().st_mode & 0o004, f"run/emqx/{path.name}: EMQX's user cannot read it")
    name = service["environment"]["EMQX_NODE_NAME"]
    check(conf["node"]["name"] == name, "compose.yaml: emqx: not the node that emqx.conf names")
    # Anything else set there would go before emqx.conf.
    check(set(service["environment"]) == {"EMQX_NODE_NAME"}, "compose.yaml: emqx: its environment goes before emqx.conf")


def check_self(check):
    """That this finds what is wrong."""
    for text in ("mqtt { max_inflght = 1 }", "mqtt { max_inflight = many }", "no_such { a = 1 }",
                 "authentication = [ { backend = redis } ]", "listeners.ssl.default { bind = \"0.0.0.0\" }"):
        check(conf_faults(text)[0], f"not found: {text}")
    for text in ("{deny, all}", "{allow all}.", '{permit, all, all, ["#"]}.\n{deny, all}.', '{allow, all}.',
                 '{allow, {user, "a"}, publish, ["a]}.\n{deny, all}.', "{allow, all, publish}.\n{deny, all}."):
        check(acl_faults(text), f"not found: {text}")
