"""The files that start the service elsewhere name flags, paths and ports that there are, and give
requests the time to end."""

import re

import pytest
import yaml
from conftest import ROOT

from bigjax.modes.flags import FLAGS
from bigjax.serve import openapi
from bigjax.serve.bodies import Limits

DOCKERFILE = (ROOT / "launch" / "serve.Dockerfile").read_text().replace("\\\n", "")


@pytest.fixture(scope="module")
def parts():
    return {x["kind"]: x for x in yaml.safe_load_all((ROOT / "launch/serve.yaml").read_text())}


@pytest.fixture(scope="module")
def pod(parts):
    return parts["Deployment"]["spec"]["template"]["spec"]


def test_every_flag_is_one_of_the_mode(pod):
    given = [*re.findall(r'"(--[^"]+)"', DOCKERFILE), *pod["containers"][0]["args"]]
    names = {flag.partition("=")[0].removeprefix("--") for flag in given}
    known = {flag.name for flag in FLAGS if "serve" in flag.modes} | {"mode", "workdir"}
    assert {"mode", "host", "port", "workdir", "drain_seconds"} <= names <= known


def test_ports_paths_and_names_fit_each_other(parts, pod):
    (container,) = pod["containers"]
    port = container["ports"][0]["containerPort"]
    assert f"--port={port}" in DOCKERFILE and f"EXPOSE {port}" in DOCKERFILE
    paths = openapi.document(takes="text", limits=Limits(), version="")["paths"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] in paths
        assert container[probe]["httpGet"]["port"] == container["ports"][0]["name"]
    about = parts["Deployment"]["spec"]["template"]["metadata"]
    assert about["annotations"]["prometheus.io/path"] in paths
    assert about["annotations"]["prometheus.io/port"] == str(port)
    selectors = parts["Service"]["spec"]["selector"], parts["Deployment"]["spec"]["selector"]
    assert selectors[0] == selectors[1]["matchLabels"] == about["labels"]
    assert parts["Service"]["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    assert f"--workdir={mounts['model']}" in container["args"]
    assert f'VOLUME ["{mounts["cache"]}"]' in DOCKERFILE


def test_what_was_taken_has_the_time_to_be_answered(pod):
    (container,) = pod["containers"]
    drain = int(re.search(r"--drain_seconds=(\d+)", " ".join(container["args"])).group(1))
    (sleep,) = re.findall(r"\d+", " ".join(container["lifecycle"]["preStop"]["exec"]["command"]))
    assert pod["terminationGracePeriodSeconds"] > drain + int(sleep)


def test_it_is_not_root_and_has_what_it_needs(pod):
    user = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)[-1]
    uid = int(re.search(rf"--uid (\d+) --create-home {user}", DOCKERFILE).group(1))
    assert pod["securityContext"]["runAsUser"] == uid != 0
    copied = [
        name for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M) for name in line.split()[:-1]
    ]
    assert {"bigjax", "main.py"} <= set(copied)
    assert all((ROOT / name).exists() for name in copied)
